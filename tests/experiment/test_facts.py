"""What a run says of a recipe before it trains."""

import pytest

from airbench.data.dataset import Dataset
from airbench.experiment.facts import examine
from airbench.experiment.worker import Worker
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
