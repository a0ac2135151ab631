"""Which run folders belong together."""

from collections.abc import Sequence

from airbench.errors import AirbenchError
from airbench.runs import RunRecord


def refuse_duplicates(runs: Sequence[RunRecord]) -> None:
    """Raise AirbenchError if one run folder is named twice: its trials would count twice."""
    seen = set()
    for run in runs:
        if run.path.resolve() in seen:
            raise AirbenchError(f"{run.path}: is named twice; name each run once")
        seen.add(run.path.resolve())
