"""Training of jobs in this process, reusing images and nets from one job to the next."""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from airbench.data.dataset import Dataset
from airbench.data.sources import genuineness, load_dataset
from airbench.device import choose_machine, prepare
from airbench.errors import RecipeError, TrialError
from airbench.experiment.environment import describe_machine
from airbench.experiment.jobs import TrialExtra, TrialJob, TrialOutcome
from airbench.kernels.symmetric import choices
from airbench.optim.optimizers import Optimizers
from airbench.optim.spectra import momentum_spectra
from airbench.recipe import Recipe
from airbench.recipe.data import Data
from airbench.training.callback import Callback, Callbacks
from airbench.training.loop import run_trial
from airbench.training.saved import predictions_content, trained_net
from airbench.training.setup import TrialSetup
from airbench.training.warmup import rehearse, warm_up


def images_key(data: Data) -> str:
    """Return what identifies the images of ``data`` among those loaded, whatever is done with them."""
    return data.model_copy(update={"augment": {}, "train_images": None, "subset": None}).model_dump_json()


class Worker:
    """Trains jobs one by one."""

    def __init__(
        self,
        say: Callable[[str], None] = lambda text: None,
        datasets: dict[str, Dataset] | None = None,
        keep: int | None = None,
    ):
        """``datasets`` holds images that were loaded before, and takes those that are loaded here.

        ``keep``: of so many recipes images and nets are kept on the device, those used last; None: of all.
        """
        self.say, self.keep = say, keep
        self._datasets = {} if datasets is None else datasets
        self._setups: dict[str, TrialSetup] = {}
        self._warm: set[str] = set()
        self._to_rehearse: set[str] = set()
        """Setups whose memory was given back since they were warmed up."""

    def dataset(self, recipe: Recipe) -> Dataset:
        """Return the images of ``recipe``, loaded once."""
        key = images_key(recipe.data)
        if key not in self._datasets:
            self._datasets[key] = load_dataset(recipe.data)
            self.say(genuineness(self._datasets[key]))
        return self._datasets[key]

    def setup(self, recipe: Recipe, place_of: Callable[[str], str] | None = None) -> TrialSetup:
        """Return the setup shared by the trials of ``recipe``, created once.

        Raises RecipeError, which ``place_of`` says the place of: of its text, the file and line of the setting, say.
        """
        key = recipe.model_dump_json()
        if key in self._setups:
            self._setups[key] = self._setups.pop(key)  # the one used last comes last
        else:
            while self.keep is not None and len(self._setups) >= self.keep:
                self._drop([next(iter(self._setups))])
            machine = choose_machine(recipe.engine)
            prepare(machine)
            try:
                self._setups[key] = TrialSetup(recipe, self.dataset(recipe), machine)
            except RecipeError as error:
                raise RecipeError(f"{place_of(str(error))}: {error}" if place_of else str(error)) from None
        return self._setups[key]

    def forget(self, recipe: Recipe) -> None:
        """Free the memory of the setup of ``recipe``."""
        self._drop([recipe.model_dump_json()])

    def forget_all(self) -> None:
        """Free the memory of all setups."""
        self._drop(list(self._setups))

    def _drop(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._setups.pop(key, None)
            self._warm.discard(key)
            self._to_rehearse.discard(key)
        gc.collect()  # a setup and what it has captured refer to each other, and would keep their memory

    def warm_up(self, job: TrialJob) -> None:
        """Warm up for ``job``. Raises TrialError if memory runs out."""
        key, setup = job.recipe.model_dump_json(), self.setup(job.recipe, lambda _: job.path)
        for note in warm_up(setup):
            self.say(f"{job.recipe.name}: {note}")
        if setup.graph is not None:  # to capture it, PyTorch gave back all memory that it kept
            self._to_rehearse |= self._setups.keys()
        self._to_rehearse.discard(key)

    def warm_up_once(self, job: TrialJob) -> None:
        """Do the same unless it was done for this recipe before."""
        key = job.recipe.model_dump_json()
        if key not in self._warm or key not in self._setups:
            self.warm_up(job)
            self._warm.add(key)

    def train(self, job: TrialJob, callback: Callback) -> Iterator[TrialOutcome | TrialExtra]:
        """Train ``job``. Yields its outcome, then the extras that were asked for."""
        setup = self.setup(job.recipe, lambda _: job.path)
        machine = {**describe_machine(setup.machine), **vars(setup.execution)}
        keeper = KeepOptimizers()
        key = job.recipe.model_dump_json()
        try:
            if key in self._to_rehearse:
                rehearse(setup)
                self._to_rehearse.discard(key)
            result = run_trial(setup, job.seeds, Callbacks(callback, keeper))
        except TrialError as error:
            yield TrialOutcome(job, machine, reason=str(error))
            return
        chosen = choices()  # measured in the warm-up
        if chosen and any(group.symmetric_kernel() == "auto" for group in job.recipe.optimizers.values()):
            machine["orthogonalize_kernels"] = chosen
        yield TrialOutcome(job, machine, result)
        save = job.recipe.engine.save
        if save in ("weights", "both"):
            yield TrialExtra(job, "weights", trained_net(setup).content())
        if save in ("predictions", "both") and result.logits is not None:
            yield TrialExtra(job, "predictions", predictions_content(result.logits, setup.test.labels))
        if job.spectra and keeper.optimizers:
            with suppress(RuntimeError):  # an optional extra must not end a run
                spectra = momentum_spectra(keeper.optimizers)
                if spectra:  # empty if the recipe has no Muon
                    yield TrialExtra(job, "spectra", spectra)


class KeepOptimizers(Callback):
    """Keeps the trial's optimizers, whose state is inspected afterwards."""

    optimizers: Optimizers | None = None

    def on_start(self, setup: TrialSetup, optimizers: Optimizers) -> None:
        """See :class:`Callback`."""
        self.optimizers = optimizers
