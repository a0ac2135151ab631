"""Executors, which train jobs in this process or in subprocesses."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from airbench.errors import AirbenchError, TrialError
from airbench.experiment.environment import code_hashes
from airbench.experiment.jobs import TrialExtra, TrialJob, TrialOutcome
from airbench.experiment.worker import Worker
from airbench.recipe.plugins import loaded_plugins
from airbench.training.callback import Callback

Watch = Callable[[TrialJob], Callback]
"""Creates the callback that follows a job's trial."""


CHILD = ("-m", "airbench.experiment.child")
"""Python arguments that start the subprocess of a trial."""


class Executor(Protocol):
    """Trains jobs. Run folders are written only by the caller."""

    def run(self, jobs: Sequence[TrialJob], watch: Watch) -> Iterator[TrialOutcome | TrialExtra]:
        """Train ``jobs`` and yield the results of each as soon as they are available.

        Raises AirbenchError if a job cannot be trained at all; what was yielded before is valid.
        """


class SerialExecutor:
    """Trains jobs one by one in this process, after warming up for all of them."""

    def __init__(self, worker: Worker):
        self.worker = worker

    def run(self, jobs: Sequence[TrialJob], watch: Watch) -> Iterator[TrialOutcome | TrialExtra]:
        """See :class:`Executor`. A job whose warm-up does not fit into memory has failed; the others go on."""
        too_large: dict[int, str] = {}
        runs = {job.run: job for job in jobs}
        for job in runs.values():
            try:
                self.worker.warm_up(job)
            except TrialError as error:
                beside = f" (beside {len(runs) - 1} more, which are in memory too)" if len(runs) > 1 else ""
                too_large[job.run] = f"{error}{beside}"
                self.worker.forget(job.recipe)
        for job in jobs:
            callback = watch(job)
            if job.run in too_large:
                callback.on_fail(too_large[job.run])
                yield TrialOutcome(job, {}, reason=too_large[job.run])
            else:
                yield from self.worker.train(job, callback)


class ProcessExecutor:
    """Trains jobs one by one, each in its own process, so that no state carries over to the next trial.

    Each process reads the code anew. One that finds other code than there was before the first job refuses its own.
    """

    def run(self, jobs: Sequence[TrialJob], watch: Watch) -> Iterator[TrialOutcome | TrialExtra]:
        """See :class:`Executor`."""
        code = code_hashes()
        for job in jobs:
            yield from self._train(job, code, watch(job))

    def _train(self, job: TrialJob, code: dict[str, str], callback: Callback) -> Iterator[TrialOutcome | TrialExtra]:
        command = [sys.executable, *CHILD]
        # In a group of its own: a terminal sends Ctrl-C to this process only, which ends the child.
        group = 0 if os.name == "posix" else None
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=group) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            try:
                # Plugins first: the child needs them to unpickle the rest.
                pickle.dump([str(path) for path in loaded_plugins()], child.stdin)
                pickle.dump(code, child.stdin)
                pickle.dump(job, child.stdin)
                child.stdin.close()
                yield from _received(child.stdout, callback)
            except TrialError as error:  # a callback ended the trial, or it does not fit into memory
                callback.on_fail(str(error))
                yield TrialOutcome(job, {}, reason=str(error))
            except (EOFError, pickle.UnpicklingError, BrokenPipeError):
                raise AirbenchError(
                    f"{job.recipe.name} trial {job.index}: its process ended with exit code {child.wait()}"
                ) from None
            finally:
                child.kill()  # no effect if it has ended; it has not if this process was interrupted


def _received(stream: Any, callback: Callback) -> Iterator[TrialOutcome | TrialExtra]:
    """Handle a child's messages: callback calls, then outcome and extras, which are yielded, then None."""
    while (message := pickle.load(stream)) is not None:
        match message:
            case TrialOutcome() | TrialExtra():
                yield message
            case AirbenchError():
                raise message
            case (method, arguments):
                getattr(callback, method)(*arguments)
