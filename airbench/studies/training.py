"""A recipe that a study trains once."""

from airbench.errors import AirbenchError, TrialError
from airbench.recipe import LoadedRecipe
from airbench.training.callback import Callback
from airbench.training.loop import run_trial
from airbench.training.results import TrialSeeds
from airbench.training.setup import TrialSetup


def train_once(setup: TrialSetup, loaded: LoadedRecipe, seed: int, callback: Callback) -> None:
    """Train ``loaded``, for which ``setup`` was made. Raises AirbenchError, naming the recipe, if the trial fails."""
    try:
        run_trial(setup, TrialSeeds.of(loaded.recipe, seed), callback)
    except TrialError as error:
        raise AirbenchError(f"{loaded.path}: {error}") from None
