"""Assignment of parameters to the groups of a recipe."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from airbench.errors import RecipeError
from airbench.optim.qk_clip import Attention, find_attention
from airbench.recipe.groups import Group
from airbench.recipe.schedules import epochs_to_steps


@dataclass(frozen=True)
class ParamGroup:
    """A group of the recipe and the parameters that it trains."""

    name: str
    config: Group
    param_names: tuple[str, ...]
    params: tuple[Tensor, ...]
    """The net's own parameters, or the float32 copies that are updated in their place."""
    attentions: tuple[Attention | None, ...] = ()
    """For ``qk_clip``: the attention whose queries and keys each parameter holds, if any."""

    @property
    def on_cuda(self) -> bool:
        """Whether the parameters are on a CUDA device."""
        return all(p.is_cuda for p in self.params)


@dataclass(frozen=True)
class OptimizerContext:
    """Context for the factory of an optimizer, besides its group."""

    batch_size: int
    weight_dtype: torch.dtype
    """Data type of the net's weights, of which the group's parameters may be float32 copies."""
    captured: bool
    """Whether steps are captured in a CUDA graph: lr is then a tensor on the device, as must be all state."""

    def fused(self, group: "ParamGroup") -> bool | None:
        """Whether PyTorch's fused implementation updates ``group``: one launch, and lr may be a device tensor."""
        return group.on_cuda or self.captured or None


def route(net: nn.Module, groups: dict[str, Group]) -> list[ParamGroup]:
    """Assign each trainable parameter of ``net`` to the first group with a pattern that matches its name.

    Raises RecipeError for a pattern that matches no unassigned parameter, for a parameter that no pattern matches,
    for Muon on a parameter that is not a matrix, and for ``qk_clip`` without attention.
    """
    trainable = {name: p for name, p in net.named_parameters() if p.requires_grad}
    taken: dict[str, str] = {}
    found = []
    for group, config in groups.items():
        patterns = (config.params,) if isinstance(config.params, str) else config.params
        for pattern in patterns:
            matching = [name for name in trainable if fnmatchcase(name, pattern)]
            new = [name for name in matching if name not in taken]
            if not new:
                raise RecipeError(_nothing_taken(group, pattern, matching, taken, trainable))
            taken.update(dict.fromkeys(new, group))
        names = tuple(name for name in trainable if taken.get(name) == group)
        vectors = [name for name in names if trainable[name].ndim < config.min_dims]
        if vectors:
            raise RecipeError(
                f"optimizers.{group}: {config.name} trains matrices, and {', '.join(vectors)} has fewer than "
                f"{config.min_dims} dimensions; assign it to another group"
            )
        attentions = () if config.qk_clip is None else find_attention(net, group, names)
        found.append(ParamGroup(group, config, names, tuple(trainable[name] for name in names), attentions))
    left = [name for name in trainable if name not in taken]
    if left:
        raise RecipeError(f"optimizers: no group's params match {', '.join(left)}; add a group or a pattern that does")
    return found


def check_last_step(groups: Sequence[ParamGroup], total_steps: int, steps_per_epoch: float) -> None:
    """Raise RecipeError if every group is frozen before the last step."""
    lengths = [group.config.train_epochs for group in groups]
    if all(epochs is not None and epochs_to_steps(epochs, steps_per_epoch) < total_steps for epochs in lengths):
        raise RecipeError("optimizers: train_epochs freezes every group before the end; remove it from at least one")


def _nothing_taken(
    group: str, pattern: str, matching: Sequence[str], taken: dict[str, str], trainable: dict[str, Any]
) -> str:
    key = f"optimizers.{group}.params = {pattern}"
    if matching:
        by = ", ".join(f"{name} by '{taken[name]}'" for name in matching)
        return f"{key}: earlier groups match all of its parameters ({by}); put this group first"
    return f"{key}: matches no trainable parameter; the net has {', '.join(trainable)}"


def describe(groups: Sequence[ParamGroup]) -> list[str]:
    """Return one line per group: which optimizer trains which parameters."""
    width, name_width = max(len(g.name) for g in groups), max(len(g.config.name) for g in groups)
    return [
        f"{g.name:<{width}}  {g.config.name:<{name_width}}  {sum(p.numel() for p in g.params):>9,} weights in "
        f"{_abbreviated(g.param_names)}"
        for g in groups
    ]


def _abbreviated(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 2 else f"{names[0]} … {names[-1]} ({len(names)})"
