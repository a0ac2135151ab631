"""Run folders that somebody else sends, or a disk has damaged: every command reads them, or says why not."""

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from airbench.analysis.compare import compare_runs, comparison_lines, warnings
from airbench.analysis.report import write_report
from airbench.analysis.summary import listing_rows, summarize_run
from airbench.analysis.time_to_target import collect_lengths
from airbench.analysis.verify import verdict_lines, verify
from airbench.cli import main
from airbench.errors import AirbenchError
from airbench.runs import find_runs, read_run
from tests.analysis.fake_runs import fake_run

JUNK = st.sampled_from(
    [None, [], {}, "", "x", -1, 0, 0.5, 1e308, 10**400, True, "\ud800", "$\\frac{$", "\x1b[31m", [[]], {"a": {"b": 1}}]
)


def spots(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of everything inside plain values."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [spot for key, inner in pairs for spot in ((*at, key), *spots(inner, (*at, key)))]


def damaged(values: Any, data: st.DataObject) -> Any:
    """Return ``values`` with junk in up to three places."""
    values = copy.deepcopy(values)
    for _ in range(data.draw(st.integers(0, 3))):
        path = data.draw(st.sampled_from(spots(values) or [()]))
        inner = values
        for key in path[:-1]:
            inner = inner[key]
        if path:
            inner[path[-1]] = data.draw(JUNK)
    return values


@given(st.data())
@settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.generate],
    derandomize=True,
)  # shrinking takes minutes
def test_junk_anywhere_in_a_run_folder_breaks_no_command(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("foreign")
    good, other = fake_run(folder / "good", [0.94, 0.941, 0.939]), fake_run(folder / "bad", [0.93, 0.931], spectra=True)
    for name in ("run.json", "spectra.json"):
        file = other.path / name
        file.write_text(json.dumps(damaged(json.loads(file.read_text()), data)))
    recipe = damaged(yaml.safe_load((other.path / "recipe.yaml").read_text()), data)
    (other.path / "recipe.yaml").write_text(json.dumps(recipe))  # JSON is YAML
    rows = [json.loads(line) for line in (other.path / "trials.jsonl").read_text().splitlines()]
    (other.path / "trials.jsonl").write_text("".join(json.dumps(damaged(row, data)) + "\n" for row in rows))
    bad = read_run(other.path)
    listing_rows([good, bad])
    json.dumps(summarize_run(bad), allow_nan=False)
    "\n".join(verdict_lines(verify(bad, 0.94))).encode()
    if not bad.finished:
        return
    for form in ("html", "md", "csv"):
        write_report([good, bad], form, folder / f"report.{form}")
    try:
        "\n".join(line for c in compare_runs([good, bad]) for line in comparison_lines(c)).encode()
        warnings([good, bad])
        collect_lengths([good, bad])
    except AirbenchError:
        pass  # a reason why they cannot be compared is an answer


@pytest.mark.parametrize("name", ["$\\frac{$", "\ud800", "a\nb", "<script>"])
def test_names_that_are_no_names_are_drawn_as_they_are(name: str, tmp_path: Path) -> None:
    run = fake_run(tmp_path / "a", [0.94, 0.941, 0.939], spectra=True)
    recipe = yaml.safe_load((run.path / "recipe.yaml").read_text())
    (run.path / "recipe.yaml").write_text(json.dumps({**recipe, "name": name}))
    for form in ("html", "png", "md", "csv"):
        write_report([read_run(run.path)], form, tmp_path / f"report.{form}")
    assert b"<script>" not in (tmp_path / "report.html").read_bytes()


BROKEN = {
    "an empty int": '!!int ""',
    "an empty float": '!!float ""',
    "no bool": "!!bool maybe",
    "no character": '"\\UFFFFFFFF"',
    "a bomb": "a: &a [x, x, x, x, x, x, x, x, x]\n" + "\n".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]" for i in range(8)
    ),
    "deep": "[" * 5000,
    "a python object": "!!python/object/apply:os.system [true]",
}  # fmt: skip


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_broken_run_does_not_hide_the_others(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_run(tmp_path / "good", [0.94, 0.941, 0.939])
    bad = fake_run(tmp_path / "bad", [0.93, 0.931])
    (bad.path / "recipe.yaml").write_text(content)
    assert main(["runs", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "airbench94_muon" in out
    assert "recipe.yaml: " in " ".join(read_run(bad.path).problems)


@pytest.mark.parametrize("name", ["run.json", "recipe.yaml", "trials.jsonl", "spectra.json"])
def test_files_that_are_no_files_are_not_waited_for(name: str, tmp_path: Path) -> None:
    run = fake_run(tmp_path / "a", [0.94, 0.941], spectra=True)
    (run.path / name).unlink()
    os.mkfifo(run.path / name)
    assert any(name in problem for problem in read_run(run.path).problems)


def test_runs_are_found_behind_links_but_once(tmp_path: Path) -> None:
    fake_run(tmp_path / "elsewhere" / "a", [0.94])
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "linked").symlink_to(tmp_path / "elsewhere")
    (runs / "loop").symlink_to(runs)
    (runs / "again").symlink_to(tmp_path / "elsewhere" / "a")
    assert [path.name for path in find_runs(runs)] in (["a"], ["again"])
