"""One experiment on different engines is told from different experiments."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airbench.analysis.compare import compare_runs, comparison_lines
from airbench.analysis.experiments import engine_differences, pooling_note, same_experiment
from airbench.analysis.report.html import html_report
from airbench.analysis.report.tables import markdown_report
from airbench.analysis.time_to_target import collect_lengths, crossing_lines, time_to_target
from airbench.analysis.variance import variance_sources
from airbench.runs import RunRecord
from tests.analysis.fake_runs import FACTS, fake_run, trial_line

A, B = [0.9412, 0.9405, 0.9409], [0.9352, 0.9361, 0.9349]
CPU = {"device": "Some processor, 2 threads", "precision": "bf16", "threads": 2}
GPU = {"device": "Some GPU", "precision": "fp16", "threads": None}

Change = Callable[[dict[str, Any]], object]


def changed(run: RunRecord, *changes: Change) -> RunRecord:
    """The run with its recipe changed, as an older or a newer version would have written it."""
    recipe = {key: dict(value) if isinstance(value, dict) else value for key, value in run.recipe.items()}
    for change in changes:
        change(recipe)
    return replace(run, recipe=recipe, path=run.path.with_name("other"))


@pytest.mark.parametrize(
    "change",
    [
        lambda recipe: recipe.update(name="x", description="y", target=0.5),
        lambda recipe: recipe.update(
            engine={"device": "cuda", "precision": "fp16", "threads": 4, "compile": "default"}
        ),
        lambda recipe: [recipe.pop(key, None) for key in ("device", "precision", "threads")],
        lambda recipe: [recipe["train"].pop(key, None) for key in ("compile", "cuda_graph")],
        lambda recipe: [recipe["net"].pop(key, None) for key in ("fused", "winograd")],
        lambda recipe: recipe["net"].update(winograd=2, fused=False),
        lambda recipe: recipe["data"].update(path="/elsewhere"),
    ],
)
def test_labels_and_engine_make_no_other_experiment(change: Change, tmp_path: Path) -> None:
    run = fake_run(tmp_path / "a", A)
    assert same_experiment(run, changed(run, change))
    assert same_experiment(changed(run, change), run)


@pytest.mark.parametrize(
    "change",
    [
        lambda recipe: recipe["train"].update(epochs=9.0),
        lambda recipe: recipe["data"].update(train_images=1000),
        lambda recipe: recipe.update(seeds={"init": 0, "order": None, "augment": None}),
        lambda recipe: recipe.update(optimizers=dict(reversed(recipe["optimizers"].items()))),
        lambda recipe: recipe.pop("evaluate"),
        lambda recipe: recipe.clear(),
    ],
)
def test_everything_else_makes_another_experiment(change: Change, tmp_path: Path) -> None:
    run = fake_run(tmp_path / "a", A)
    assert not same_experiment(run, changed(run, change))
    assert not same_experiment(changed(run, change), run)


def test_damaged_recipes_and_different_images_are_never_the_same(tmp_path: Path) -> None:
    run = fake_run(tmp_path / "a", A)
    damaged = changed(run, lambda recipe: recipe.clear())
    assert not same_experiment(damaged, damaged)
    assert not same_experiment(run, fake_run(tmp_path / "b", A, data={"test_fingerprint": "other"}))


def test_what_may_differ_besides_can_be_named(tmp_path: Path) -> None:
    a, b = fake_run(tmp_path / "a", A), fake_run(tmp_path / "b", A, overrides=["train.epochs=4"])
    assert not same_experiment(a, b)
    assert same_experiment(a, b, besides=[("train", "epochs")])
    assert a.recipe["train"]["epochs"] == 8  # nothing was taken from the run itself


def test_engines_differ_in_what_was_used_not_in_what_was_left_to_choose(tmp_path: Path) -> None:
    a, b = fake_run(tmp_path / "a", A, environment=CPU), fake_run(tmp_path / "b", A, environment=GPU)
    assert engine_differences([a, b]) == ["device Some GPU / Some processor, 2 threads", "precision bf16 / fp16"]
    assert engine_differences([a, a]) == []
    new = changed(a, lambda recipe: recipe.update(engine={"winograd": 2}))
    assert engine_differences([a, new]) == ["winograd 2 / auto"]
    exact, rounded = (changed(a, lambda r, on=on: r.update(engine={"tf32": on})) for on in (False, True))
    assert engine_differences([exact, rounded]) == ["tf32 False / True"]
    kept = changed(a, lambda recipe: recipe.update(engine={"save": "weights"}))
    assert engine_differences([a, kept]) == []  # what is kept of a trial is not how it is computed
    assert same_experiment(a, changed(a, lambda recipe: recipe["train"].update(save="weights")))  # as it once was
    eager = {"device": "Some processor, 2 threads", "compile": "none"}
    first = fake_run(tmp_path / "auto", [], lines=[trial_line(0, 0.94, machine=eager)], environment=CPU)
    second = changed(first, lambda recipe: recipe["engine"].update(compile="none"))
    assert engine_differences([first, second]) == []  # on a CPU, auto is none


def test_comparison_and_report_say_that_only_the_engine_differs(tmp_path: Path) -> None:
    a, b = fake_run(tmp_path / "a", A, environment=CPU), fake_run(tmp_path / "b", B, environment=GPU)
    line = "same recipe on different engines: device Some GPU / Some processor, 2 threads; precision bf16 / fp16"
    assert line in "\n".join(comparison_lines(compare_runs([a, b])[0]))
    assert line in html_report([a, b])
    assert line in markdown_report([a, b])
    other = fake_run(tmp_path / "c", B, environment=GPU, recipe="airbench94")
    assert "same recipe" not in "\n".join(comparison_lines(compare_runs([a, other])[0]))
    again = fake_run(tmp_path / "d", B, environment=CPU)
    assert "same recipe" not in "\n".join(comparison_lines(compare_runs([a, again])[0]))


def test_lengths_pool_accuracies_over_engines_but_no_seconds(tmp_path: Path) -> None:
    runs = [
        fake_run(tmp_path / f"{e}-{i}", [0.93 + e / 1000, 0.931 + e / 1000],
                 overrides=[f"train.epochs={e}", f"precision={environment['precision']}"], environment=environment)
        for e in (4, 12) for i, environment in enumerate((CPU, GPU))
    ]  # fmt: skip
    found = collect_lengths(runs)
    assert [(length.epochs, len(length.accuracies), length.seconds) for length in found] == [(4, 4, ()), (12, 4, ())]
    crossing = time_to_target(found, 0.94)
    assert 4 < crossing.epochs < 12
    lines = crossing_lines(found, 0.94, crossing)
    assert not any(" s" in line for line in lines)
    assert "nan" not in "\n".join(lines)
    (note,) = pooling_note(runs)
    assert "precision bf16 / fp16" in note
    assert "times on different engines are not comparable" in note
    assert all(length.seconds for length in collect_lengths([runs[0], runs[2]]))
    assert pooling_note([runs[0], runs[2]]) == []


def test_variance_pools_over_engines(tmp_path: Path) -> None:
    runs = [
        fake_run(tmp_path / "a", A, environment=CPU, overrides=["precision=bf16"]),
        fake_run(tmp_path / "b", B, environment=GPU, overrides=["net.winograd=0"]),
        fake_run(tmp_path / "c", A, environment=GPU, overrides=["seeds.init=0"]),
    ]
    _, n, (source,) = variance_sources(runs)
    assert (n, source.n) == (6, 3)


def test_another_list_of_images_under_the_same_name_is_another_experiment(tmp_path: Path) -> None:
    data = FACTS["data"]
    runs = [
        fake_run(tmp_path / name, A, overrides=[f"data.subset={path}"], data={**data, "subset_sha256": digest})
        for name, path, digest in (("a", "x.npy", "1"), ("b", "x.npy", "2"), ("c", "y.npy", "1"))
    ]
    assert not same_experiment(runs[0], runs[1])
    assert same_experiment(runs[0], runs[2])
