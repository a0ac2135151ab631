"""The head's side of a worker: what it is doing, and whether it still lives."""

import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from airbench.experiment.cluster.actor import Actor
from airbench.experiment.cluster.connect import Cluster, Need, Node, first_sentence
from airbench.experiment.cluster.session import Answer, Place
from airbench.experiment.environment import describe_software, source_hash
from airbench.experiment.jobs import TrialJob
from airbench.training.callback import Callback

_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "ONEDNN_MAX_CPU_ISA")
"""Variables that results depend on: each worker has those of the head."""

MOST_RETRIES = 2
"""So often is a trial tried again when the worker that trained it has died."""

_numbers = count()


@dataclass
class Attempt:
    """A job, how often it was begun before, and what was shown of it."""

    job: TrialJob
    retries: int = 0
    number: int = field(default_factory=_numbers.__next__)
    callback: Callback = field(default_factory=Callback)
    epoch: float = 0.0
    """The last epoch whose row its callback was given."""
    settled: bool = False
    """Whether its outcome has been yielded."""

    def again(self) -> "Attempt":
        """Return the next attempt at the same job."""
        return Attempt(self.job, self.retries + 1)


class WorkerLostError(Exception):
    """A worker has died, or what it was doing has failed for no reason that the package knows."""


class UnfitError(Exception):
    """A worker cannot train what is to be trained."""


class RemoteWorker:
    """A worker on a node. ``waiting`` is what the head waits for; None while the worker is idle, or gone."""

    def __init__(self, cluster: Cluster, node: Node, need: Need, setting: dict[str, Any]):
        """``setting``: ``plugins``, ``mailbox`` and ``variables`` of the experiment."""
        self.cluster, self.node, self.need, self.setting = cluster, node, need, setting
        self.attempt: Attempt | None = None
        self.deaths = 0
        """How often it died since it was last ready for a job."""
        self.gone = False
        self.start()

    @property
    def idle(self) -> bool:
        """Whether it waits for a job."""
        return self.waiting is None and not self.gone

    def start(self) -> None:
        """Start its process, which first says what its node has."""
        options = self.cluster.on(self.node, **self.node.resources(self.need))
        self.actor = self.cluster.remote(Actor).options(**options).remote(self.setting["variables"])
        self.waiting: Any = self.actor.look.remote()
        self.steps: deque[Callable[[Any], None]] = deque([self._looked, self._opened])

    def advance(self) -> Answer | None:
        """Take what it waited for. Returns an answer if it was training, None if not, or if that has ended.

        Raises WorkerLostError or UnfitError.
        """
        try:
            if self.steps:
                self.steps.popleft()(self.cluster.ray.get(self.waiting))
                return None
            return self.cluster.ray.get(next(self.waiting))
        except StopIteration:
            self.waiting, self.attempt = None, None
            return None
        except self.cluster.ray.exceptions.RayError as error:
            raise WorkerLostError(reason(error)) from None

    def train(self, attempt: Attempt, order: bytes, images: list[Any]) -> None:
        """Begin a job."""
        self.attempt = attempt
        train = self.actor.train.options(num_returns="streaming")
        self.waiting = train.remote(order, images, attempt.number)

    def examine(self, order: bytes, images: list[Any], measure: bool) -> Answer:
        """Return the answer of :meth:`session.Session.examine`. Raises WorkerLostError."""
        try:
            answer: Answer = self.cluster.ray.get(self.actor.examine.remote(order, images, measure))
        except self.cluster.ray.exceptions.RayError as error:
            raise WorkerLostError(reason(error)) from None
        return answer

    def stop(self) -> None:
        """End its process, whatever it is doing."""
        self.cluster.ray.kill(self.actor)
        self.waiting, self.attempt = None, None

    def leave(self) -> None:
        """End it for good."""
        self.stop()
        self.gone = True

    def _looked(self, found: dict[str, Any]) -> None:
        source, here = source_hash(), describe_software()
        if found["source"] != source:
            raise UnfitError(
                f"it has another version of airbench (source {found['source'][:12]}, here {source[:12]}): install this "
                "one there, or uninstall it there, so that this one is sent"
            )
        for name, version in [("Python", "python"), *((name, name) for name in here["packages"] if name != "airbench")]:
            theirs, ours = (each.get(version) or each["packages"].get(version) for each in (found, here))
            if theirs != ours:
                raise UnfitError(f"it has {name} {theirs}, and this machine {ours}: install the same there")
        place = Place(self.node.index, self.node.holds(self.need), None if self.need.gpu else self.need.threads)
        self.waiting = self.actor.open.remote(self.setting["plugins"], place, self.setting["mailbox"])

    def _opened(self, _: None) -> None:
        self.waiting, self.deaths = None, 0


def variables() -> dict[str, str | None]:
    """Return the variables that a worker takes over from this process."""
    return {name: os.environ.get(name) for name in _VARIABLES}


def reason(error: BaseException) -> str:
    """Return why a worker was lost, in one line: the exception that it raised, or Ray's words."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, BaseException):
        return f"{type(cause).__name__}: {first_sentence(cause)}"
    words = str(error)
    for name, plain in (("NODE_DIED", "its node is gone"), ("OUT_OF_MEMORY", "its node was out of memory")):
        if name in words or name.replace("_", " ").lower() in words.lower():
            return plain
    return f"its process died ({type(error).__name__})"
