"""Names of runs: unique, short, and saying what differs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airbench.analysis.labels import labels, short_devices
from airbench.runs import RunRecord

DEVICES = (
    "Intel(R) Xeon(R) Processor, 2 threads",
    "AMD EPYC, 2 threads",
    "AMD EPYC, 1 threads",
    "NVIDIA H100 PCIe",
    "",
)


def record(path: str, **choices: Any) -> RunRecord:
    """A run that differs from the others in ``choices`` only."""
    facts = {
        "started": choices.get("started", "2026-01-01T10:00:00+00:00"),
        "seed": choices.get("seed", 0),
        "trials_planned": choices.get("planned", 3),
        "source": {"git_commit": choices.get("commit", "c" * 40)},
        "environment": {
            "device": choices.get("device", DEVICES[0]),
            "precision": choices.get("precision", "fp32"),
            "threads": choices.get("threads", 2),
        },
    }
    recipe = {
        "name": choices.get("name", "muon"),
        "train": {"epochs": choices.get("epochs", 8.0), "batch_size": choices.get("batch_size", 2000)},
    }
    return RunRecord(Path(path), facts, recipe, (), {}, ())


records = st.builds(
    record,
    st.text("ab/", min_size=1, max_size=4).map(lambda text: f"runs/{text}"),
    name=st.sampled_from(["muon", "sgd", "muon, EPYC", "a", ""]),
    started=st.sampled_from(["2026-01-01T10:00:00+00:00", "2026-01-01T11:00:00+00:00", "2026-01-02T10:00:00+00:00"]),
    seed=st.integers(0, 2),
    planned=st.integers(1, 2),
    commit=st.sampled_from(["a" * 40, "b" * 40, ""]),
    device=st.sampled_from(DEVICES),
    precision=st.sampled_from(["fp32", "bf16"]),
    threads=st.integers(1, 2),
    epochs=st.sampled_from([4.0, 8.0]),
    batch_size=st.sampled_from([500, 2000]),
)


@given(st.lists(records, min_size=1, max_size=8, unique_by=lambda run: run.path))
def test_no_two_runs_are_called_alike(runs: list[RunRecord]) -> None:
    shown = labels(runs)
    assert len(set(shown)) == len(runs)
    for run, label in zip(runs, shown, strict=True):
        assert label
        assert label.isprintable()
        if [other.name for other in runs].count(run.name) == 1 and ", " not in run.name:
            assert label in (run.name, run.path.name, str(run.path))


@given(st.lists(records, min_size=1, max_size=6, unique_by=lambda run: run.path))
def test_only_runs_that_nothing_tells_apart_are_called_by_their_folders(runs: list[RunRecord]) -> None:
    runs = [replace(run, recipe={**run.recipe, "name": "muon"}) for run in runs]
    contents = [(run.facts, run.recipe) for run in runs]
    for label, content in zip(labels(runs), contents, strict=True):
        assert label.startswith("muon") == (contents.count(content) == 1)


@pytest.mark.parametrize(
    ("choices", "ends"),
    [
        ({"device": "AMD EPYC 9R14, 2 threads"}, ("Xeon", "EPYC")),
        ({"precision": "bf16"}, ("fp32", "bf16")),
        ({"seed": 3}, ("seeds 0–2", "seeds 3–5")),
        ({"threads": 1}, ("threads=2", "threads=1")),
        ({"epochs": 4.0}, ("epochs=8", "epochs=4")),
        ({"commit": "d" * 40}, ("commit ccccccc", "commit ddddddd")),
        ({"started": "2026-01-02T10:00:00+00:00"}, ("2026-01-01", "2026-01-02")),
        ({"started": "2026-01-01T11:30:00+00:00"}, ("2026-01-01 10:00", "2026-01-01 11:30")),
        ({"device": "AMD EPYC", "seed": 3, "started": "2026-01-02"}, ("Xeon", "EPYC")),
    ],
)
def test_a_name_says_what_differs_and_no_more(choices: dict[str, Any], ends: tuple[str, str]) -> None:
    assert labels([record("a"), record("b", **choices)]) == [f"muon, {end}" for end in ends]


def test_machine_and_precision_go_together() -> None:
    runs = [record("a"), record("b", precision="bf16"), record("c", device="AMD EPYC, 2 threads")]
    assert labels(runs) == ["muon, Xeon fp32", "muon, Xeon bf16", "muon, EPYC fp32"]


def test_copies_are_called_by_their_folders_and_a_single_run_by_its_recipe() -> None:
    assert labels([record("runs/a"), record("runs/b"), record("runs/c", name="sgd")]) == ["a", "b", "sgd"]
    assert labels([record("x/a"), record("y/a")]) == ["x/a", "y/a"]


def test_what_an_older_recipe_lacks_is_no_difference_worth_naming() -> None:
    old, new = record("a"), record("b", seed=3)
    new.recipe["average"] = None
    assert labels([old, new]) == ["muon, seeds 0–2", "muon, seeds 3–5"]


@pytest.mark.parametrize(
    ("devices", "short"),
    [
        (["NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-80GB"], ["H100", "A100"]),
        (["NVIDIA H100 80GB HBM3", "NVIDIA H100 PCIe"], ["H100 80GB HBM3", "H100 PCIe"]),
        (["NVIDIA GeForce RTX 4090", "Apple M2"], ["RTX 4090", "Apple M2"]),
        (["Intel(R) Xeon(R) CPU @ 2.20GHz, 2 threads", "AMD EPYC 9R14, 2 threads"], ["Xeon", "EPYC"]),
        (["AMD EPYC 7R13, 2 threads", "AMD EPYC 9R14, 2 threads"], ["EPYC 7R13", "EPYC 9R14"]),
        (["AMD EPYC, 1 threads", "AMD EPYC, 2 threads"], ["EPYC, 1 threads", "EPYC, 2 threads"]),
        (["12th Gen Intel(R) Core(TM) i7-12700K, 8 threads"], ["Core i7-12700K"]),
        (["AMD Ryzen 9 5950X 16-Core Processor, 4 threads"], ["Ryzen 9 5950X"]),
    ],
)
def test_devices_are_called_as_people_call_them(devices: list[str], short: list[str]) -> None:
    assert short_devices(devices) == short


@given(st.lists(st.sampled_from([*DEVICES, "CPU", "AMD CPU", "(R)", "x, 2 threads", "x"]), min_size=1, unique=True))
def test_short_devices_stay_different(devices: list[str]) -> None:
    assert len(set(short_devices(devices))) == len(devices)
