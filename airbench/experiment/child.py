"""The subprocess of one trial: reads a pickled job from standard input, writes pickled results to standard output."""

import os
import pickle
import signal
import sys
import traceback
from typing import IO, Any

from airbench.errors import AirbenchError
from airbench.experiment.environment import code_hashes
from airbench.experiment.jobs import TrialJob
from airbench.experiment.worker import Worker
from airbench.recipe.plugins import load_plugin, place_in_plugin, told
from airbench.training.callback import Callback
from airbench.training.results import EpochRow, TrialResult


class _Send(Callback):
    """Forwards callback calls, except ``on_step``, to the parent process."""

    def __init__(self, out: IO[bytes]):
        self.out = out

    def on_epoch(self, row: EpochRow) -> None:
        send(self.out, ("on_epoch", (row,)))

    def on_end(self, result: TrialResult) -> None:
        send(self.out, ("on_end", (result,)))

    def on_fail(self, reason: str) -> None:
        send(self.out, ("on_fail", (reason,)))


def send(out: IO[bytes], message: Any) -> None:
    """Send one pickled message."""
    pickle.dump(message, out)
    out.flush()


def main() -> None:
    """Train the job read from standard input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # anything printed must not corrupt the messages
    plugins, code = pickle.load(sys.stdin.buffer), pickle.load(sys.stdin.buffer)
    try:
        for plugin in plugins:
            load_plugin(plugin)
        changed = sorted(name for name, found in code_hashes().items() if found != code.get(name))
        if changed:
            raise AirbenchError(
                f"{', '.join(changed)}: not as it was before the first trial, and with --isolate each trial reads it "
                "anew; put back what was there and resume, or start a new run"
            )
        job: TrialJob = pickle.load(sys.stdin.buffer)
        worker = Worker()
        worker.warm_up(job)
        for message in worker.train(job, _Send(out)):
            send(out, message)
    except AirbenchError as error:
        send(out, error)
    except Exception as error:
        if place_in_plugin(error) is None:
            raise
        traceback.print_exc()
        send(out, AirbenchError(told(error)))
    send(out, None)


if __name__ == "__main__":
    main()
