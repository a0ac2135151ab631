"""Learning-rate schedules: what a group's lr is multiplied with at each step."""

import math

from airbench.recipe import schedules as schema


def factor(schedule: schema.Schedule, step: int, total_steps: int, steps_per_epoch: int) -> float:
    """The factor on lr at ``step`` (from 0) of ``total_steps``."""
    if isinstance(schedule, schema.Constant):
        return 1.0
    length = total_steps
    if schedule.epochs is not None:
        length = epochs_to_steps(schedule.epochs, steps_per_epoch)
    elif schedule.fraction is not None:
        length = max(1, round(schedule.fraction * total_steps))
    if step >= length:
        return schedule.end
    if isinstance(schedule, schema.Linear):
        return _between(schedule.start, schedule.end, step / length)
    if isinstance(schedule, schema.Cosine):
        return _between(schedule.start, schedule.end, (1 - math.cos(math.pi * step / length)) / 2)
    if isinstance(schedule, schema.Triangular):
        up = int(length * schedule.peak)
        return _trapezoid(schedule.start, schedule.end, step, length, up, length - up)
    unit = length if schedule.unit == "fraction" else steps_per_epoch
    up, down = int(schedule.warmup * unit), round(schedule.cooldown * unit)
    return _trapezoid(schedule.start, schedule.end, step, length, up, down)


def _trapezoid(start: float, end: float, step: int, length: int, up: int, down: int) -> float:
    """Up from ``start`` to 1 in the first ``up`` of ``length`` steps, down to ``end`` in the last ``down``.

    A climb that takes longer than what the fall leaves is cut short.
    """
    down = min(down, length)
    if step < min(up, length - down):
        return _between(start, 1.0, step / up)
    top = 1.0 if up + down <= length else _between(start, 1.0, (length - down) / up)
    left = length - step
    return _between(end, top, left / down) if left < down else top


def _between(start: float, end: float, share: float) -> float:
    return start * (1 - share) + end * share


def epochs_to_steps(epochs: float, steps_per_epoch: int) -> int:
    """Steps that ``epochs`` take, rounded up; at least one."""
    return max(1, math.ceil(round(epochs * steps_per_epoch, 9)))  # 0.1 * 30 is 3, not 3.0000000000000004
