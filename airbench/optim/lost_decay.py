"""Weight decay that half precision rounds to nothing."""

from collections.abc import Sequence

import torch

from airbench.optim.groups import ParamGroup

HALF = (torch.float16, torch.bfloat16)


def vanishes(share: float, dtype: torch.dtype) -> bool:
    """Return whether p · (1 - share) rounds to p for every p of ``dtype``: below a quarter of its epsilon.

    Half of the distance to the next smaller number is p · eps / 4 where p is a power of two, and more elsewhere.
    """
    return 0 < share < torch.finfo(dtype).eps / 4


def _fewest_inputs(group: ParamGroup) -> int:
    """Return what ``adjust_lr: fan_in`` divides the group's learning rate by, at least; 1 without it."""
    if getattr(group.config, "adjust_lr", None) != "fan_in":
        return 1
    return min(p[0].numel() if p.ndim > 1 else 1 for p in group.params)


def lost_decay(groups: Sequence[ParamGroup], total_steps: int, per_epoch: float) -> list[str]:
    """Return a line for each group whose decoupled weight decay is lost to rounding in most of its steps."""
    lines = []
    for group in groups:
        half = {p.dtype for p in group.params if p.dtype in HALF}
        if not half or group.config.master_weights or not group.config.decay_share():
            continue
        dtype = max(half, key=lambda dtype: torch.finfo(dtype).eps)
        schedule = group.config.schedule
        share = group.config.decay_share() / _fewest_inputs(group)
        shares = [share * schedule.factor(s, total_steps, per_epoch) for s in range(total_steps)]
        lost, decaying = sum(vanishes(share, dtype) for share in shares), sum(share > 0 for share in shares)
        if 2 * lost > decaying:
            where = f"{str(dtype).removeprefix('torch.')} in {lost} of {total_steps} steps"
            lines.append(
                f"{group.name}: weight decay, {max(shares):.2g} a step or less, is lost to rounding in {where}; "
                f"optimizers.{group.name}.master_weights=true keeps it"
            )
    return lines
