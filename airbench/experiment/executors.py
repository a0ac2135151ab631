"""Executors: where jobs are trained."""

import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from airbench.errors import AirbenchError
from airbench.experiment.jobs import TrialExtra, TrialJob, TrialOutcome
from airbench.experiment.worker import Worker
from airbench.recipe.plugins import loaded_plugins
from airbench.training.callback import Callback

Watch = Callable[[TrialJob], Callback]
"""Makes the callback that is told how a job's trial goes."""


CHILD = ("-m", "airbench.experiment.child")
"""What Python runs in the process of a trial."""


class Executor(Protocol):
    """Trains jobs, in whatever way. Only the caller writes run folders."""

    def run(self, jobs: Sequence[TrialJob], watch: Watch) -> Iterator[TrialOutcome | TrialExtra]:
        """Train ``jobs`` and yield what comes of each as soon as it is there.

        Raises AirbenchError where a job cannot be trained at all; what was yielded before is valid.
        """


class SerialExecutor:
    """Trains one job after the other in this process, warmed up before the first of them."""

    def __init__(self, worker: Worker):
        self.worker = worker

    def run(self, jobs: Sequence[TrialJob], watch: Watch) -> Iterator[TrialOutcome | TrialExtra]:
        """See :class:`Executor`."""
        for job in {job.run: job for job in jobs}.values():
            self.worker.warm_up(job)
        for job in jobs:
            yield from self.worker.train(job, watch(job))


class ProcessExecutor:
    """Trains one job after the other, each in a process of its own: nothing is left of one trial in the next."""

    def run(self, jobs: Sequence[TrialJob], watch: Watch) -> Iterator[TrialOutcome | TrialExtra]:
        """See :class:`Executor`."""
        for job in jobs:
            yield from self._train(job, watch(job))

    def _train(self, job: TrialJob, callback: Callback) -> Iterator[TrialOutcome | TrialExtra]:
        with subprocess.Popen([sys.executable, *CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            try:
                # Plugins first: the child needs them to unpickle the rest.
                pickle.dump([str(path) for path in loaded_plugins()], child.stdin)
                pickle.dump(job, child.stdin)
                child.stdin.close()
                yield from _received(child.stdout, callback)
            except (EOFError, pickle.UnpicklingError, BrokenPipeError):
                raise AirbenchError(
                    f"{job.recipe.name} trial {job.index + 1}: its process ended with exit code {child.wait()}"
                ) from None
            finally:
                child.kill()  # it has ended, unless this process was interrupted


def _received(stream: Any, callback: Callback) -> Iterator[TrialOutcome | TrialExtra]:
    """Pass on what a child sends: calls of the callback, then outcome and extras, then None."""
    while (message := pickle.load(stream)) is not None:
        match message:
            case TrialOutcome() | TrialExtra():
                yield message
            case AirbenchError():
                raise message
            case (method, arguments):
                getattr(callback, method)(*arguments)
