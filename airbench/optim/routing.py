"""Which optimizer trains which parameter, as the recipe declares it."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from airbench.errors import RecipeError
from airbench.optim.master_weights import MasterWeights
from airbench.optim.muon import Muon
from airbench.optim.normalized_momentum import NormalizedMomentum
from airbench.optim.orthogonalize import build_orthogonalizer
from airbench.optim.schedule import epochs_to_steps, factor
from airbench.recipe import optimizers as schema


@dataclass(frozen=True)
class Route:
    """A group of the recipe and the parameters that it trains."""

    group: str
    knobs: schema.OptimizerGroup
    names: tuple[str, ...]
    params: tuple[nn.Parameter, ...]


def route(net: nn.Module, groups: dict[str, schema.OptimizerGroup]) -> list[Route]:
    """Give each trainable parameter of ``net`` to the first group with a pattern that matches its name.

    Raises RecipeError for a pattern that takes nothing, for a parameter that no pattern takes, for Muon on
    something that is no matrix, and for groups that are all frozen before the end.
    """
    trainable = {name: p for name, p in net.named_parameters() if p.requires_grad}
    taken: dict[str, str] = {}
    routes = []
    for group, knobs in groups.items():
        patterns = (knobs.params,) if isinstance(knobs.params, str) else knobs.params
        mine: list[str] = []
        for pattern in patterns:
            matching = [name for name in trainable if fnmatchcase(name, pattern)]
            new = [name for name in matching if name not in taken]
            if not new:
                raise RecipeError(_nothing_taken(group, pattern, matching, taken, trainable))
            mine += new
            taken.update(dict.fromkeys(new, group))
        names = tuple(name for name in trainable if name in mine)
        vectors = [name for name in names if trainable[name].ndim < 2]
        if vectors and isinstance(knobs, schema.Muon):
            raise RecipeError(
                f"optimizers.{group}: Muon trains matrices, and {', '.join(vectors)} is none; leave it to another group"
            )
        routes.append(Route(group, knobs, names, tuple(trainable[name] for name in names)))
    if all(r.knobs.train_epochs is not None for r in routes):
        raise RecipeError("optimizers: train_epochs freezes every group; leave it out of one, or nothing is trained")
    left = [name for name in trainable if name not in taken]
    if left:
        raise RecipeError(
            f"optimizers: no group's params match {', '.join(left)}; add a group, or a pattern, that takes it"
        )
    return routes


def _nothing_taken(
    group: str, pattern: str, matching: Sequence[str], taken: dict[str, str], trainable: dict[str, Any]
) -> str:
    key = f"optimizers.{group}.params = {pattern}"
    if matching:
        by = ", ".join(f"{name} by '{taken[name]}'" for name in matching)
        return f"{key}: all that it matches is taken by groups before it ({by}); put this group first"
    return f"{key}: matches no trainable parameter; there are {', '.join(trainable)}"


def describe(routes: Sequence[Route]) -> list[str]:
    """One line a group: who trains what."""
    width, name_width = max(len(r.group) for r in routes), max(len(r.knobs.name) for r in routes)
    return [
        f"{r.group:<{width}}  {r.knobs.name:<{name_width}}  {sum(p.numel() for p in r.params):>9,} weights in "
        f"{_abbreviated(r.names)}"
        for r in routes
    ]


def _abbreviated(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 2 else f"{names[0]} … {names[-1]} ({len(names)})"


def sgd_hyperparameters(knobs: schema.SGD, batch_size: int) -> tuple[float, float]:
    """(lr, weight_decay) as torch.optim.SGD takes them, for a loss summed over ``batch_size`` examples.

    With k = 1024 · (1 + 1 / (1 - momentum)), decoupled knobs give lr / k and weight_decay · batch_size / k / lr
    (Jordan 2024, section 2): what is learned from an example, and what is lost to decay, then depends neither
    on batch size nor on momentum.
    """
    kilo = 1024 * (1 + 1 / (1 - knobs.momentum))
    lr = knobs.lr * knobs.lr_scale / (kilo if knobs.lr_unit == "per_1024_examples" else 1)
    if knobs.weight_decay_unit == "coupled":
        return lr, knobs.weight_decay
    per_example = knobs.weight_decay / (kilo if knobs.weight_decay_unit == "per_1024_examples" else 1)
    return lr, per_example * batch_size / lr


class Optimizers:
    """Every optimizer of a recipe, stepped as one.

    A group whose ``train_epochs`` have passed is frozen: its parameters need no gradient from then on. With
    ``captured``, steps can be captured in a CUDA graph: learning rates are tensors, and so is all other state.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        *,
        batch_size: int,
        total_steps: int,
        steps_per_epoch: int,
        captured: bool = False,
    ):
        self.total_steps, self.steps_per_epoch, self.captured = total_steps, steps_per_epoch, captured
        self.now = 0
        """The step that was announced last."""
        self.optimizers: list[torch.optim.Optimizer] = []
        self.scheduled: list[tuple[dict[str, Any], Route, float]] = []
        self.masters: list[MasterWeights] = []
        sgd: list[tuple[dict[str, Any], Route]] = []
        for r in routes:
            params: Sequence[Tensor] = r.params
            if r.knobs.master_weights and any(p.dtype in (torch.float16, torch.bfloat16) for p in params):
                self.masters.append(MasterWeights(params))
                params = self.masters[-1].copies
            if isinstance(r.knobs, schema.SGD):
                sgd.append((_sgd_group(r.knobs, params, batch_size), r))
            else:
                self._add(_build(r.knobs, params, r.params[0].dtype, captured), [r])
        if sgd:  # one optimizer for all SGD groups: fewer kernels
            fused = captured or None  # these alone read a learning rate on the device
            self._add(torch.optim.SGD([group for group, _ in sgd], lr=1.0, fused=fused), [r for _, r in sgd])

    def _add(self, optimizer: torch.optim.Optimizer, routes: Sequence[Route]) -> None:
        self.optimizers.append(optimizer)
        for group, r in zip(optimizer.param_groups, routes, strict=True):
            self.scheduled.append((group, r, float(group["lr"])))
            if self.captured:
                group["lr"] = torch.tensor(float(group["lr"]), device=r.params[0].device)

    def before_step(self, step: int) -> None:
        """Set every learning rate for ``step`` (from 0) and freeze the groups whose time is over."""
        self.now = step
        for group, r, base in self.scheduled:
            if isinstance(r.knobs, schema.Muon):
                group["renormalize_every"], group["steps_taken"] = self._renormalize_every(r.knobs, step), step
            lr = base * factor(r.knobs.schedule, step, self.total_steps, self.steps_per_epoch)
            if self.captured:
                group["lr"].fill_(lr)
            else:
                group["lr"] = lr
            if r.knobs.train_epochs is not None:
                trains = self._trains(r, step)
                for p in r.params:
                    p.requires_grad_(trains)

    def kind_of_step(self, step: int) -> tuple[bool, ...]:
        """What decides, besides tensors, what ``step`` does: which groups are trained, which rescaled."""
        return tuple(
            yes
            for _, r, _ in self.scheduled
            for yes in (self._trains(r, step), self._rescales(r.knobs, step))
        )  # fmt: skip

    def _trains(self, r: Route, step: int) -> bool:
        return r.knobs.train_epochs is None or step < epochs_to_steps(r.knobs.train_epochs, self.steps_per_epoch)

    def _rescales(self, knobs: schema.OptimizerGroup, step: int) -> bool:
        every = self._renormalize_every(knobs, step) if isinstance(knobs, schema.Muon) else 0
        return every > 0 and step % every == 0

    def _renormalize_every(self, knobs: schema.Muon, step: int) -> int:
        growth = int(knobs.renormalize_growth * step / self.total_steps)
        return knobs.renormalize_every + growth if knobs.renormalize_every else 0

    @torch.no_grad()
    def reset(self) -> None:
        """Forget every step, in the memory where its traces are; the weights are what they are by now."""
        for optimizer in self.optimizers:
            for state in optimizer.state.values():
                for value in state.values():
                    if isinstance(value, Tensor):
                        value.zero_()
        for master in self.masters:
            master.reset()
        self.before_step(0)

    def step(self) -> None:
        """One step of every optimizer, then forget the gradients."""
        for master in self.masters:
            master.before_step()
        for optimizer in self.optimizers:
            optimizer.step()
        for master in self.masters:
            master.after_step()
        for _, r, _ in self.scheduled:
            for p in r.params:
                p.grad = None


def _sgd_group(knobs: schema.SGD, params: Sequence[Tensor], batch_size: int) -> dict[str, Any]:
    lr, weight_decay = sgd_hyperparameters(knobs, batch_size)
    return {
        "params": list(params), "lr": lr, "weight_decay": weight_decay,
        "momentum": knobs.momentum, "nesterov": knobs.nesterov and knobs.momentum > 0,
    }  # fmt: skip


def _build(
    knobs: schema.Adam | schema.AdamW | schema.NormalizedMomentum | schema.Muon,
    params: Sequence[Tensor],
    dtype: torch.dtype,
    captured: bool,
) -> torch.optim.Optimizer:
    """The optimizer of a group. ``dtype`` is that of the net's weights, of which ``params`` may be float32 copies."""
    if isinstance(knobs, schema.Adam | schema.AdamW):
        kind = torch.optim.Adam if isinstance(knobs, schema.Adam) else torch.optim.AdamW
        return kind(
            params, lr=knobs.lr, betas=knobs.betas, eps=knobs.eps, weight_decay=knobs.weight_decay,
            fused=captured or None, capturable=captured,
        )  # fmt: skip
    if isinstance(knobs, schema.NormalizedMomentum):
        return NormalizedMomentum(
            params, lr=knobs.lr, momentum=knobs.momentum, eps=knobs.eps, weight_decay=knobs.weight_decay
        )
    return Muon(
        params,
        lr=knobs.lr,
        momentum=knobs.momentum,
        nesterov=knobs.nesterov,
        weight_decay=knobs.weight_decay,
        momentum_convention=knobs.momentum_convention,
        flatten=knobs.flatten,
        adjust_lr=knobs.adjust_lr,
        max_update_norm=knobs.max_update_norm,
        renormalize_every=knobs.renormalize_every,
        orthogonalize=build_orthogonalizer(knobs.orthogonalize, dtype),
        padded=knobs.batching == "padded",
    )
