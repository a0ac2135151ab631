"""What a trial of a recipe would cost on this machine, before anything is trained."""

from dataclasses import dataclass

from airbench.benchmark.step import build_step
from airbench.data.sources import load_dataset
from airbench.device import choose_machine, prepare
from airbench.recipe import Recipe
from airbench.training.flops import count_flop
from airbench.training.setup import image_shape
from airbench.training.timing import seconds_of


@dataclass(frozen=True)
class TrialCost:
    """The cost of a trial of a recipe on this machine."""

    pflop: float
    hours: float
    """Estimated from the time of a training step, launched kernel by kernel."""


def cost_of_trial(recipe: Recipe) -> TrialCost:
    """Count the arithmetic of a trial and measure a step of it, three times, of which the shortest counts."""
    dataset = load_dataset(recipe.data)
    machine = choose_machine(recipe.engine)
    prepare(machine)
    machine.use_threads()
    images = min(recipe.data.train_images or len(dataset.train), len(dataset.train))
    shape, steps = image_shape(dataset), recipe.train.total_steps(images)
    flop = count_flop(recipe, steps, len(dataset.test), shape, recipe.train.steps_per_epoch(images))
    step = build_step(recipe, machine, machine.dtype, recipe.train.batch_size, shape)
    step()
    seconds = min(seconds_of(step, machine.device) for _ in range(3))
    return TrialCost(flop["trial"] / 1e15, seconds * flop["trial"] / flop["step"] / 3600)
