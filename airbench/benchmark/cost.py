"""What a trial of a recipe would cost on this machine, before anything is trained."""

from dataclasses import dataclass

from airbench.benchmark.step import build_step
from airbench.experiment.worker import Worker
from airbench.recipe import Recipe
from airbench.training.flops import count_flop
from airbench.training.timing import seconds_of


@dataclass(frozen=True)
class TrialCost:
    """The cost of a trial of a recipe on this machine."""

    pflop: float
    hours: float
    """Estimated from the time of a training step, launched kernel by kernel."""


def cost_of_trial(recipe: Recipe, worker: Worker) -> TrialCost:
    """Count the arithmetic of a trial and measure a step of it, three times, of which the shortest counts."""
    setup = worker.setup(recipe)
    machine = setup.machine
    machine.use()
    flop = count_flop(recipe, setup.total_steps, len(setup.test), setup.shape, setup.steps_per_epoch)
    step = build_step(recipe, machine, machine.dtype, recipe.train.batch_size, setup.shape)
    step()
    seconds = min(seconds_of(step, machine.device) for _ in range(3))
    worker.forget(recipe)
    # The step that was measured is a whole one, whatever the trial's are.
    whole = recipe.model_copy(update={"train": recipe.train.model_copy(update={"resolution": (), "selection": None})})
    measured = count_flop(whole, 1, 0, setup.shape, setup.steps_per_epoch)["step"]
    return TrialCost(flop["trial"] / 1e15, seconds * flop["trial"] / measured / 3600)
