"""Where a run comes from, and how to repeat it."""

import re
import shlex
from html import escape

import yaml

from airbench.analysis.labels import short_devices
from airbench.analysis.summary import arithmetic_lines
from airbench.analysis.verify import verify
from airbench.runs import RunRecord
from airbench.runs.record import one_line


def provenance_html(run: RunRecord, name: str) -> str:
    """Return what a run recorded of itself, folded."""
    rows = "".join(f"<dt>{escape(key)}</dt><dd>{_shown(key, value)}</dd>" for key, value in _facts(run).items())
    recipe = yaml.safe_dump(run.recipe, sort_keys=False, default_flow_style=None, width=100)
    recipe = f"<details><summary>recipe.yaml</summary><pre>{escape(recipe)}</pre></details>"
    (device,) = short_devices([run.machine("device")])
    where = ", ".join(filter(None, (device, run.machine("precision"), run.text("started")[:10])))
    summary = f'<summary>{escape(name)}<span class="mute">{escape(where)}</span></summary>'
    return f"<details>{summary}<dl>{rows}</dl>{recipe}</details>"


def _shown(key: str, value: str) -> str:
    return f"<code>{escape(value)}</code>" if key == "reproduce with" else escape(value)


def _facts(run: RunRecord) -> dict[str, str]:
    packages = run.fact("environment", "packages")
    versions = [f"{k} {v}" for k, v in packages.items()] if isinstance(packages, dict) else []
    commit = run.text("source", "git_commit") or "not under git"
    facts = {
        "folder": run.path.name,
        "started": run.text("started"),
        "reproduce with": reproduce_command(run),
        "hardware": f"{run.machine('device')}, {run.machine('precision')}",
        "software": ", ".join([f"Python {run.text('environment', 'python')}", *versions]),
        "source": commit if run.fact("source", "committed") is True else f"{commit} ({_besides(run)})",
        "data": f"{run.text('data', 'source')}, {_images(run)}",
        "arithmetic": "".join(arithmetic_lines([run])) or "not recorded",
        "copy bandwidth": f"{run.text('peak', 'copy_gbs')} GB/s" if run.text("peak", "copy_gbs") else "not recorded",
        "problems": "; ".join(run.problems) or "none",
    }
    if run.target is not None:
        facts["verdict"] = verify(run, run.target).line
    return facts


def reproduce_command(run: RunRecord) -> str:
    """Command that repeats a run's trials, at its commit, with the recipe that the page shows."""
    commit = run.text("source", "git_commit")
    checkout = f"git checkout {commit} && " if re.fullmatch(r"[0-9a-f]{7,64}", commit) else ""
    plugins = run.fact("source", "plugins")
    words = [f"--plugin {shlex.quote(one_line(str(name)))}" for name in plugins] if isinstance(plugins, dict) else []
    words += [] if run.planned is None else [f"--trials {run.planned}"]
    words += [f"--seed {run.fact('seed')}"] if type(run.fact("seed")) is int else []
    return f"{checkout}python train.py recipe.yaml {' '.join(words)}".rstrip()


def _besides(run: RunRecord) -> str:
    return run.text("source", "note") or "uncommitted changes"


def _images(run: RunRecord) -> str:
    held_out = run.text("data", "held_out")
    if held_out not in ("", "0"):
        return f"judged on {held_out} held-out training images"
    return f"genuine CIFAR-10: {run.text('data', 'genuine')}"
