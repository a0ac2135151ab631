"""What Ray runs on a node. Sent by value, so it imports the package only when called, and says if there is none."""

import importlib.util
import os
from collections.abc import Iterator, Mapping
from typing import Any


def has_package() -> bool:
    """Return whether the package can be imported on this node."""
    return importlib.util.find_spec("airbench") is not None


class Actor:
    """A worker process: trains one job at a time, in its main thread."""

    def __init__(self, variables: Mapping[str, str | None]):
        """``variables`` are those of the head, None where it has none; they must be set before PyTorch is loaded."""
        for name, value in variables.items():
            if value is None:
                os.environ.pop(name, None)  # Ray sets OMP_NUM_THREADS
            else:
                os.environ[name] = value

    def look(self) -> dict[str, Any]:
        """Return which code and which versions of packages this node has."""
        from airbench.experiment.environment import describe_software, source_hash

        return {"source": source_hash(), **describe_software()}

    def open(self, *arguments: Any) -> None:
        """Prepare for jobs: see :class:`airbench.experiment.cluster.session.Session`."""
        from airbench.experiment.cluster.session import Session

        self.session = Session(*arguments)

    def examine(self, *arguments: Any) -> Any:
        """See :meth:`airbench.experiment.cluster.session.Session.examine`."""
        return self.session.examine(*arguments)

    def train(self, *arguments: Any) -> Iterator[Any]:
        """See :meth:`airbench.experiment.cluster.session.Session.train`."""
        yield from self.session.train(*arguments)


class Mailbox:
    """Collects the progress of all workers, which the head takes in one go. Losing it loses nothing but display."""

    def __init__(self) -> None:
        self.messages: list[Any] = []

    def put(self, message: Any) -> None:
        """Add a message."""
        self.messages.append(message)

    def take(self) -> list[Any]:
        """Return the messages since the last call."""
        taken, self.messages = self.messages, []
        return taken
