"""Whether the seconds of a run's trials can be compared: only if like machines trained them, one trial at a time."""

from collections.abc import Sequence

from airbench.runs import RunRecord
from airbench.runs.record import one_line

NO_TIME = "no record of time"
"""What seconds are that cannot be compared."""

_NOT_COMPARED = ("node", "concurrent", "memory_gib", "system", "note")
"""Entries of a trial's machine that say nothing about its speed, or differ by a trifle between equal machines."""


def why_no_time(run: RunRecord) -> list[str]:
    """Return a phrase for each reason why a run's seconds are no record of time; none if they are.

    Accuracies of trials on unlike machines may be pooled; seconds may not. Trials that shared the processors of a
    machine, with a device of type ``cpu``, slowed each other down. Machines that are not recorded count as alike.
    """
    machines = [trial.machine for trial in run.finished if trial.machine]
    found = []
    for key in dict.fromkeys(key for machine in machines for key in machine):
        values = {_short(machine[key]) for machine in machines if key in machine}
        if key not in _NOT_COMPARED and len(values) > 1:
            found.append(f"{key} {' / '.join(sorted(values))}")
    shared = [m.get("concurrent") for m in machines if m.get("device_type") == "cpu"]
    most = max((n for n in shared if type(n) is int), default=1)
    if most > 1:
        found.append(f"up to {most} trials at a time on the processors of one machine")
    return found


def spread_by_ray(run: RunRecord) -> bool:
    """Return whether trials of a run may have been trained on other machines than the one that ``run.json`` names."""
    resumed = run.fact("resumed")
    entries = resumed if isinstance(resumed, list) else []
    return run.fact("ray") is not None or any(isinstance(e, dict) and e.get("ray") is not None for e in entries)


def time_notes(runs: Sequence[RunRecord], names: Sequence[str]) -> list[str]:
    """Return a line for each run whose seconds are no record of time."""
    lines = []
    for run, name in zip(runs, names, strict=True):
        reasons = why_no_time(run)
        if reasons:
            lines.append(f"{name}: accuracies only, its seconds are {NO_TIME}: {'; '.join(reasons)}")
    return lines


def _short(value: object) -> str:
    if isinstance(value, dict) and "name" in value:
        rest = ", ".join(f"{key} {item}" for key, item in value.items() if key != "name")
        return one_line(f"{value['name']} ({rest})")
    return one_line(str(value))
