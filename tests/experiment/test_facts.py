"""What a run says of a recipe before it trains."""

import pytest

from airbench.data.dataset import Dataset
from airbench.experiment.facts import examine, what_changed
from airbench.experiment.worker import Worker, images_key
from tests.conftest import tiny


@pytest.mark.parametrize(
    ("words", "said"),
    [(["engine.precision=bf16"], True), (["engine.precision=bf16", "optimizers.filters.master_weights=true"], False),
     (["engine.precision=fp32"], False)],
)  # fmt: skip
def test_a_run_says_that_its_weight_decay_is_lost(words: list[str], said: bool, few_shapes: Dataset) -> None:
    lines = examine(Worker(), tiny("hiverge", *words).recipe, measure=False).lines
    lost = [line for line in lines if "lost to rounding" in line]
    line = "  filters: weight decay, 0.00033 a step or less, is lost to rounding in bfloat16 in 16 of 16 steps; "
    assert lost == [line + "optimizers.filters.master_weights=true keeps it"] * said


def test_of_many_versions_only_those_that_differ_are_named() -> None:
    before = {"environment": {"packages": {"torch": "2.9", "numpy": "2.1", "old": "1"}}}
    now = {"environment": {"packages": {"torch": "2.10", "numpy": "2.1"}}}
    assert what_changed(before, now) == [
        "environment.packages.old was 1, is now None",
        "environment.packages.torch was 2.9, is now 2.10",
    ]


def test_a_selection_that_a_short_training_never_reaches_is_mentioned(small_shapes: Dataset) -> None:
    said = {}
    for epochs in (2, 8):
        recipe = tiny("speedrun.yaml", f"train.epochs={epochs}").recipe
        worker = Worker(datasets={images_key(recipe.data): small_shapes})
        lines = examine(worker, recipe, measure=False).lines
        said[epochs] = any("train.selection drops no image" in line for line in lines)
        assert said[epochs] != any("are trained on" in line for line in lines)
    assert said == {2: True, 8: False}
