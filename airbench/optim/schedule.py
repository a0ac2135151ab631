"""Learning-rate schedules: what a group's lr is multiplied with at each step."""

import math

from airbench.recipe import optimizers as schema


def factor(schedule: schema.Schedule, step: int, total_steps: int, steps_per_epoch: int) -> float:
    """The factor on lr at ``step`` (from 0) of ``total_steps``."""
    if isinstance(schedule, schema.Constant):
        return 1.0
    if isinstance(schedule, schema.Linear):
        length = total_steps if schedule.epochs is None else epochs_to_steps(schedule.epochs, steps_per_epoch)
        return _between(schedule.start, schedule.end, min(1.0, step / length))
    top = int(total_steps * schedule.peak)
    if step < top:
        return _between(schedule.start, 1.0, step / top)
    return _between(1.0, schedule.end, (step - top) / max(1, total_steps - top))


def _between(start: float, end: float, share: float) -> float:
    return start * (1 - share) + end * share


def epochs_to_steps(epochs: float, steps_per_epoch: int) -> int:
    """Steps that ``epochs`` take, rounded up; at least one."""
    return max(1, math.ceil(round(epochs * steps_per_epoch, 9)))  # 0.1 * 30 is 3, not 3.0000000000000004
