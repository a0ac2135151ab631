"""The process of one trial: a job in on standard input, what comes of it out on standard output, all of it pickled."""

import os
import pickle
import sys
from typing import IO, Any

from airbench.errors import AirbenchError
from airbench.experiment.jobs import TrialJob
from airbench.experiment.worker import Worker
from airbench.recipe.plugins import load_plugin
from airbench.training.callback import Callback
from airbench.training.results import EpochRow, TrialResult


class _Send(Callback):
    """Sends the calls that are worth a message to the parent."""

    def __init__(self, out: IO[bytes]):
        self.out = out

    def on_epoch(self, row: EpochRow) -> None:
        send(self.out, ("on_epoch", (row,)))

    def on_end(self, result: TrialResult) -> None:
        send(self.out, ("on_end", (result,)))

    def on_fail(self, reason: str) -> None:
        send(self.out, ("on_fail", (reason,)))


def send(out: IO[bytes], message: Any) -> None:
    """Send one message."""
    pickle.dump(message, out)
    out.flush()


def main() -> None:
    """Train the job on standard input."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever is printed must not get between the messages
    for plugin in pickle.load(sys.stdin.buffer):
        load_plugin(plugin)
    job: TrialJob = pickle.load(sys.stdin.buffer)
    worker = Worker()
    try:
        worker.warm_up(job)
        for message in worker.train(job, _Send(out)):
            send(out, message)
    except AirbenchError as error:
        send(out, error)
    send(out, None)


if __name__ == "__main__":
    main()
