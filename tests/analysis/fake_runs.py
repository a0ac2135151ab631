"""Run folders without training, for tests of what is concluded from them."""

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airbench.data.catalog import CIFAR10
from airbench.recipe import dump_recipe, load_recipe
from airbench.runs import RunFolder, RunRecord, read_run
from airbench.runs.files import FORMAT, sha256

FACTS: dict[str, Any] = {
    "format": FORMAT,
    "started": "2026-01-01T00:00:00+00:00",
    "seed": 0,
    "data": {
        "name": "cifar10",
        "source": "cifar10.tgz",
        "genuine": True,
        "held_out": 0,
        "train_images": 50_000,
        "test_images": 10_000,
        **{f"{split}_fingerprint": value for split, value in (CIFAR10.fingerprints or {}).items()},
    },
    "steps": 200,
    "source": {"sha256": "s", "git_commit": "c" * 40, "committed": True},
    "environment": {"device": "Some processor, 2 threads", "precision": "bf16", "packages": {"torch": "2.14.1"}},
    "flop": {"trial": 2.9e14},
    "peak": {"bf16_tflops": 2.5, "copy_gbs": 28.0},
}


def trial_line(index: int, accuracy: float, seconds: float = 10.0, **more: Any) -> dict[str, Any]:
    accuracy = round(accuracy, 4)
    plain = max(0.0, round(accuracy - 0.01, 4))
    epochs = [
        {"epoch": e, "accuracy": round(plain * e / 3, 4), "seconds": seconds * e / 3, "train_loss": 1 / e}
        for e in (1, 2, 3)
    ]
    return {
        "trial": index, "seed": index, "status": "finished", "accuracy": accuracy,
        "plain_accuracy": plain, "seconds": seconds, "epochs": epochs,
        "seeds": {"init": index, "order": index, "augment": index}, "steps": 200, "wall_seconds": seconds + 1,
        "machine": {"device": FACTS["environment"]["device"]}, **more,
    }  # fmt: skip


def failed_line(index: int, reason: str = "the loss is NaN: lower lr") -> dict[str, Any]:
    """A trial that failed."""
    return {"trial": index, "seed": index, "seeds": {}, "status": "failed", "reason": reason}


def fake_run(
    folder: Path, accuracies: Sequence[float], *, seconds: Sequence[float] | None = None,
    recipe: str = "airbench94_muon", overrides: Sequence[str] = (), lines: Sequence[dict[str, Any]] = (),
    spectra: bool = False, **facts: Any,
) -> RunRecord:  # fmt: skip
    """A run folder with these accuracies. ``facts`` replace those above; ``lines`` are added as they are."""
    folder.mkdir(parents=True)
    rows = [trial_line(i, a, seconds[i] if seconds else 10.0 + 0.1 * i) for i, a in enumerate(accuracies)]
    for row in rows:  # no two runs have the same losses
        for epoch in row["epochs"]:
            epoch["train_loss"] = round(epoch["train_loss"] + zlib.crc32(folder.name.encode()) % 997 / 1e6, 6)
        if isinstance(facts.get("environment"), dict):
            row["machine"] = {"device": facts["environment"].get("device")}
    rows += lines
    (folder / "recipe.yaml").write_text(dump_recipe(load_recipe(recipe, overrides).recipe))
    known = {**FACTS, "trials_planned": len(rows), "recipe_sha256": sha256(folder / "recipe.yaml"), **facts}
    (folder / "run.json").write_text(json.dumps(known))
    (folder / "trials.jsonl").touch()
    for row in rows:
        RunFolder(folder).append_trial(row)
    if spectra:
        values = {"before": [1.0, 0.1, 0.001], "after": [1.1, 0.9, 0.7]}
        (folder / "spectra.json").write_text(json.dumps({"groups.0.conv1.weight": values}))
    return read_run(folder)
