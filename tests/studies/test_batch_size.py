"""The study of batch sizes: what it measures is right, and what it concludes follows from it."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from airbench.errors import AirbenchError
from airbench.recipe import LoadedRecipe, load_recipe
from airbench.studies import steps_to_target
from airbench.studies.batch_size import Point, best_factor, growth, scaled, study_batch_size
from airbench.studies.steps_to_target import Progress, StepsToTarget

FAST = ["data.name=shapes", "net.widths=[4,8,8]", "data.train_images=400", "data.held_out=100", "engine.threads=1"]


def progress(*points: tuple[int, float], target: float = 0.5, failure: str = "") -> Progress:
    return Progress(points, 100, target, failure)


def test_steps_are_interpolated_in_their_logarithm() -> None:
    assert progress((4, 0.3), (16, 0.5)).steps == pytest.approx(16)
    assert progress((4, 0.4), (16, 0.6)).steps == pytest.approx(8)
    assert progress((4, 0.4), (16, 0.6)).examples == pytest.approx(800)
    assert progress((5, 0.7)).steps == 5  # nothing is known of the steps before
    assert math.isinf(progress((4, 0.3), (16, 0.49)).steps)


def test_a_trial_that_did_not_reach_the_target_costs_more_than_one_that_did() -> None:
    late, near, far = progress((100, 0.6)), progress((100, 0.49)), progress((100, 0.2))
    assert late.cost < near.cost < far.cost < progress((3, 0.2), failure="the loss is nan").cost


@pytest.mark.parametrize("best", [-4, -1, 0, 2, 5])
def test_the_search_finds_the_best_power_of_two_and_brackets_it(best: int) -> None:
    def cost(factor: float) -> float:
        return abs(math.log2(factor / 3) - best)

    factor, tried = best_factor(cost, 3)
    assert factor == 3 * 2.0**best
    assert {factor / 2, factor, factor * 2} <= set(tried)


def test_the_search_ends_where_it_never_gets_worse() -> None:
    assert len(best_factor(lambda factor: factor, 1)[1]) == 10


def test_growth_of_examples_has_the_interval_of_a_welch_test() -> None:
    small, large = Point("a", 100, 1, {}, (100, 110, 90)), Point("a", 400, 1, {}, (50, 55, 45))
    ratio, low, high = growth(small, large)
    assert ratio == pytest.approx(2)  # half the steps with four times the images
    assert low < 2 < high


def fake(exponent: dict[str, float]) -> Callable[[LoadedRecipe, int], Progress]:
    """Steps that fall with a power of the batch size; the best lr is 4 times the file's."""

    def measure(loaded: LoadedRecipe, seed: int) -> Progress:
        recipe = loaded.recipe
        name, batch = recipe.name, recipe.train.batch_size
        octaves = math.log2(recipe.optimizers["head"].lr / 0.05)
        steps = 100 * (batch / 10) ** -exponent[name] * (1 + 0.2 * (octaves - 2) ** 2) * (1 + 0.01 * (seed % 3))
        return Progress(((1, 0.0), (round(1000 * steps), recipe.target)), batch, recipe.target)

    return measure


def test_the_conclusion_compares_how_examples_grow() -> None:
    recipes = [load_recipe(name, FAST) for name in ("batch_size_muon", "batch_size_adamw")]
    study = study_batch_size(recipes, (160, 10, 40), fake({"batch_size_muon": 1.0, "batch_size_adamw": 0.5}), trials=3)
    assert [row["lr_factor"] for row in study.numbers] == [4.0] * 6
    assert "1.00 times" in study.conclusion
    assert "4.00 times" in study.conclusion  # 16 times the batch, the root of that fewer steps
    assert "n = 3" in study.conclusion
    assert [row[1] for row in study.rows[1:4]] == ["10", "40", "160"]


def test_what_was_not_reached_is_said(tmp_path: Path) -> None:
    def never(loaded: LoadedRecipe, seed: int) -> Progress:
        return Progress(((1, 0.1), (10, 0.2)), loaded.recipe.train.batch_size, 0.9)

    study = study_batch_size([load_recipe("batch_size_sgd", FAST)], (10, 20), never, trials=1)
    assert "reached it at 0 batch sizes" in study.conclusion
    assert study.rows[1][3] == "not reached"
    numbers, _ = study.save(tmp_path)
    assert json.loads(numbers.read_text())["results"][0]["steps"] == [None]


@pytest.mark.parametrize(("word", "what"), [("target=0.5", "target: "), ("data.held_out=70", r"data\.held_out: ")])
def test_recipes_of_other_targets_or_images_are_not_compared(word: str, what: str) -> None:
    recipes = [load_recipe("batch_size_muon", FAST), load_recipe("batch_size_sgd", [*FAST, word])]
    with pytest.raises(AirbenchError, match=f"^{what}.* in batch_size_muon and .* in batch_size_sgd, which are comp"):
        study_batch_size(recipes, (10, 20), fake({}))


def test_learning_rates_are_not_tuned_on_test_images() -> None:
    recipe = load_recipe("batch_size_muon", [*FAST, "data.held_out=null"])
    with pytest.raises(AirbenchError, match=r"hold out images to judge on: data\.held_out=5000"):
        study_batch_size([recipe], (10, 20), fake({}))


def test_a_trial_ends_at_its_target_and_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = scaled(load_recipe("batch_size_muon", [*FAST, "train.epochs=2"]), 50, 1.0)
    memory = tmp_path / "new" / "trials.jsonl"
    found = StepsToTarget(0.01, memory)(recipe, 0)
    assert found.points[-1][1] >= 0.01
    assert len(found.points) == 1  # reached at once
    longer = StepsToTarget(0.999, memory)(recipe, 0)
    assert math.isinf(longer.steps)
    assert longer.points[-1][0] == 16  # 2 epochs of 8 batches
    memory.write_text(memory.read_text() + '{"key": "half')
    monkeypatch.setattr(steps_to_target, "run_trial", None)  # nothing is trained again
    again = StepsToTarget(0.999, memory)
    assert again(recipe, 0) == longer
    with pytest.raises(TypeError):
        again(recipe, 1)


def test_a_failed_trial_is_a_bad_learning_rate() -> None:
    recipe = scaled(load_recipe("batch_size_sgd", FAST), 50, 1e12)
    found = StepsToTarget(0.9)(recipe, 0)
    assert found.failure
    assert found.cost == 1e9


def test_the_search_goes_down_while_all_rates_fail() -> None:
    factor, _ = best_factor(lambda f: 1e9 if f >= 0.25 else f + 1 / f, 1.0)
    assert factor < 0.25


def test_half_a_line_of_the_memory_costs_no_other_trial(tmp_path: Path) -> None:
    recipe = scaled(load_recipe("batch_size_muon", [*FAST, "train.epochs=1"]), 50, 1.0)
    memory = tmp_path / "trials.jsonl"
    memory.write_text('{"key": "half')
    found = StepsToTarget(0.01, memory)(recipe, 0)
    assert list(StepsToTarget(0.01, memory)._known.values()) == [found]
