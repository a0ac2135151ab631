"""The worker's side: trains jobs on its node, with images and plugins that the head has sent."""

import hashlib
import pickle
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from airbench.data.dataset import Dataset
from airbench.data.sources import find_origin, load_dataset
from airbench.errors import AirbenchError, DataError, TrialError
from airbench.experiment.facts import examine
from airbench.experiment.jobs import TrialExtra, TrialJob, TrialOutcome
from airbench.experiment.worker import Worker, images_key
from airbench.recipe import Recipe
from airbench.recipe.data import Data
from airbench.recipe.plugins import load_plugin, told
from airbench.training.callback import Callback
from airbench.training.results import EpochRow

UNFIT, REFUSED, FOUND, NOTE, OUTCOME, EXTRA = "unfit", "refused", "found", "note", "outcome", "extra"
"""Kinds of answers. ``unfit``: this node cannot do it; ``refused``: no node can; ``note``: a line for the user."""

KEPT = 8
"""Recipes whose nets and images a worker keeps on its device. A sweep has hundreds."""

Answer = tuple[Any, ...]


@dataclass(frozen=True)
class Place:
    """Where a worker is, and what it owns."""

    node: int
    """Index of its node, from 0."""
    concurrent: int
    """Workers on its node."""
    threads: int | None
    """CPU threads; None: PyTorch's own choice."""


@dataclass(frozen=True)
class Parcel:
    """What a node needs of a recipe, besides the recipe and the images themselves."""

    fingerprints: tuple[str, str]
    """Of the head's images, train and test."""
    why_own: str = ""
    """Why the images were not sent, so that the node must have its own."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Contents of files that the recipe names, by path on the head."""


class Session:
    """Trains jobs one by one, in the process of an actor."""

    def __init__(self, plugins: Mapping[str, bytes], place: Place, mailbox: Any):
        """``plugins`` are files by name; ``mailbox`` is the actor that takes messages on progress, or None."""
        self.folder = tempfile.TemporaryDirectory(prefix="airbench-worker-", ignore_cleanup_errors=True)
        self.place, self.mailbox = place, mailbox
        for name, content in plugins.items():
            file = Path(self.folder.name) / Path(name).name
            file.write_bytes(content)
            load_plugin(file)
        self.datasets: dict[str, Dataset] = {}
        self.worker = Worker(datasets=self.datasets, keep=KEPT)
        self.notes: list[str] = []
        self.worker.say = self.notes.append

    def examine(self, order: bytes, images: list[Any], measure: bool) -> Answer:
        """Return the facts of a recipe on this machine, or the error that it is refused with.

        ``order``: a pickled job and its :class:`Parcel`.
        """
        job, parcel = pickle.loads(order)
        try:
            self._receive(job.recipe, parcel, images)
        except AirbenchError as error:
            return UNFIT, str(error)
        try:
            return FOUND, examine(self.worker, self._resolved(job.recipe, parcel), measure=measure)
        except AirbenchError as error:
            return REFUSED, error
        except Exception as error:  # a fault of a plugin, say: a new worker would have it as well
            return REFUSED, AirbenchError(told(error))

    def train(self, order: bytes, images: list[Any], number: int) -> Iterator[Answer]:
        """Train a job. Yields its outcome, then its extras. ``number`` marks its messages on progress."""
        job, parcel = pickle.loads(order)
        try:
            self._receive(job.recipe, parcel, images)
            job = replace(job, recipe=self._resolved(job.recipe, parcel))
            try:
                self._warm_up(job)
            except TrialError as error:  # it does not fit into memory
                yield self._answer(TrialOutcome(job, {}, reason=str(error)))
                return
            while self.notes:
                yield NOTE, self.notes.pop()
            for found in self.worker.train(job, _Post(self.mailbox, number)):
                yield self._answer(found)
        except AirbenchError as error:
            yield UNFIT, str(error)

    def _warm_up(self, job: TrialJob) -> None:
        """Warm up for a job, if need be alone in memory. Raises TrialError if it does not fit even so."""
        try:
            self.worker.warm_up_once(job)
        except TrialError:
            self.worker.forget_all()
            try:
                self.worker.warm_up_once(job)
            except TrialError:
                self.worker.forget(job.recipe)
                raise

    def _answer(self, found: TrialOutcome | TrialExtra) -> Answer:
        if isinstance(found, TrialExtra):
            return EXTRA, found.name, found.value
        machine = {**found.machine, "node": self.place.node, "concurrent": self.place.concurrent}
        result = found.result and replace(found.result, logits=None)  # 400 kB that the head would not use
        return OUTCOME, machine, result, found.reason

    def _resolved(self, recipe: Recipe, parcel: Parcel) -> Recipe:
        """Return the recipe as this worker trains it: on its own device, with its own threads and files."""
        engine, data = recipe.engine, recipe.data
        device = "cuda" if engine.device.startswith("cuda:") else engine.device  # Ray shows it one GPU only
        engine = engine.model_copy(update={"device": device, "threads": engine.threads or self.place.threads})
        if data.subset is not None:
            data = data.model_copy(update={"subset": str(self._kept(data.subset, parcel.files[data.subset]))})
        return recipe.model_copy(update={"engine": engine, "data": data})

    def _receive(self, recipe: Recipe, parcel: Parcel, images: list[Any]) -> None:
        """See to it that the images of ``recipe`` are in memory. Raises DataError."""
        key = images_key(recipe.data)
        if key in self.datasets:
            return
        if images:
            import ray

            self.datasets[key] = ray.get(images[0])  # in the node's object store, shared by its workers
        else:
            self.datasets[key] = own_images(recipe.data, parcel)

    def _kept(self, path: str, content: bytes) -> Path:
        """Return a file of this node with ``content``, of the same name as ``path``, and of no other content ever."""
        file = Path(self.folder.name) / hashlib.sha256(content).hexdigest() / Path(path).name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
        return file


def own_images(data: Data, parcel: Parcel) -> Dataset:
    """Return this node's own copy of the images. Raises DataError if it has none, or others."""
    if data.path is not None and not Path(data.path).expanduser().exists():
        data = data.model_copy(update={"path": None})
    remedy = "start Ray there with a larger --object-store-memory, or import them there: airbench data --import"
    try:
        if find_origin(data).kind == "download":
            raise DataError("no copy is named there, and its cache is empty")
        dataset = load_dataset(data)
    except DataError as error:
        raise DataError(f"{parcel.why_own}, and it has no images of its own ({error}); {remedy}") from None
    found = dataset.train.fingerprint, dataset.test.fingerprint
    if found != parcel.fingerprints:
        raise DataError(f"{parcel.why_own}, and its own copy ({dataset.source}) holds other images; {remedy}")
    return dataset


class _Post(Callback):
    """Sends the row of each epoch to the mailbox."""

    def __init__(self, mailbox: Any, number: int):
        self.mailbox, self.number = mailbox, number

    def on_epoch(self, row: EpochRow) -> None:
        if self.mailbox is not None:
            self.mailbox.put.remote((self.number, row))  # does not wait
