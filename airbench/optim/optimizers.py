"""All optimizers of a recipe, stepped as one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from airbench.optim.groups import OptimizerContext, ParamGroup
from airbench.optim.lost_decay import HALF
from airbench.optim.master_weights import MasterWeights
from airbench.optim.qk_clip import QKClip
from airbench.optim.rescale import rescale
from airbench.recipe.optimizers import OPTIMIZERS
from airbench.recipe.schedules import epochs_to_steps


@dataclass(frozen=True)
class Trained:
    """A group, its optimizer, and what surrounds the optimizer's step."""

    group: ParamGroup
    """With the net's own parameters."""
    stepped: ParamGroup
    """With the parameters that the optimizer updates: the net's own, or float32 copies of them."""
    optimizer: torch.optim.Optimizer
    master: MasterWeights | None
    lrs: tuple[float, ...]
    """Learning rates in the optimizer's units, when the schedule's factor is 1, one for each of its own groups."""
    qk_clip: QKClip | None
    """Bounds the attention logits after the step."""


class Optimizers:
    """An optimizer for each group, stepped together.

    A group whose ``train_epochs`` have passed is frozen: its parameters need no gradient from then on. With
    ``captured``, steps can be captured in a CUDA graph: learning rates are tensors, and so is all other state.
    """

    def __init__(
        self,
        groups: Sequence[ParamGroup],
        *,
        batch_size: int,
        total_steps: int,
        steps_per_epoch: float,
        captured: bool = False,
    ):
        self.total_steps, self.steps_per_epoch, self.captured = total_steps, steps_per_epoch, captured
        self.now = 0
        """The step announced last."""
        self.trained = [self._build(group, batch_size) for group in groups]
        if captured:
            self._put_rates_on_device()
        self._clear_gradients()  # of a step that was never finished, or of whoever made the net

    def _build(self, group: ParamGroup, batch_size: int) -> Trained:
        context = OptimizerContext(batch_size, group.params[0].dtype, self.captured)
        master, stepped = None, group
        if group.config.master_weights and any(p.dtype in HALF for p in group.params):
            master = MasterWeights(group.params)
            stepped = replace(group, params=tuple(master.copies))
        optimizer: torch.optim.Optimizer = OPTIMIZERS.build(group.config, stepped, context)
        clip, settings = None, group.config.qk_clip
        if settings is not None:
            clip = QKClip(settings, stepped.params, stepped.attentions)
        lrs = tuple(float(options["lr"]) for options in optimizer.param_groups)
        return Trained(group, stepped, optimizer, master, lrs, clip)

    def _put_rates_on_device(self) -> None:
        """Make every learning rate an element of one device tensor, set by one launch per step."""
        device = self.trained[0].group.params[0].device
        steps = [[lr * self._factor(t, step) for t in self.trained for lr in t.lrs] for step in range(self.total_steps)]
        self._rates_of_steps = torch.tensor(steps, device=device)
        self._rates = self._rates_of_steps[0].clone()
        all_options = [options for t in self.trained for options in t.optimizer.param_groups]
        for options, rate in zip(all_options, self._rates, strict=True):
            options["lr"] = rate

    def _factor(self, t: Trained, step: int) -> float:
        return t.group.config.schedule.factor(step, self.total_steps, self.steps_per_epoch)

    def before_step(self, step: int) -> None:
        """Set every learning rate for ``step`` (from 0) and freeze the groups whose ``train_epochs`` have passed."""
        self.now = step
        if self.captured:
            self._rates.copy_(self._rates_of_steps[step])
        for t in self.trained:
            if not self.captured:
                factor = self._factor(t, step)
                for options, lr in zip(t.optimizer.param_groups, t.lrs, strict=True):
                    options["lr"] = lr * factor
            if t.group.config.train_epochs is not None:
                trains = self._trains(t.group, step)
                for p in t.group.params:
                    p.requires_grad_(trains)

    def trained_at(self, step: int) -> tuple[bool, ...]:
        """Return for each group whether ``step`` trains it; the others are frozen."""
        return tuple(self._trains(t.group, step) for t in self.trained)

    def kind_of_step(self, step: int) -> tuple[bool, ...]:
        """Return what ``step`` does, apart from tensor values: which groups are trained, and which rescaled."""
        return *self.trained_at(step), *(self._rescales(t.group, step) for t in self.trained)

    def _trains(self, group: ParamGroup, step: int) -> bool:
        epochs = group.config.train_epochs
        return epochs is None or step < epochs_to_steps(epochs, self.steps_per_epoch)

    def _rescales(self, group: ParamGroup, step: int) -> bool:
        return group.config.rescale is not None and group.config.rescale.acts(step, self.total_steps)

    def step(self) -> None:
        """Rescale the groups that are due, take one step of every optimizer, then clear the gradients."""
        for t in self.trained:
            self.step_group(t)
        self._clear_gradients()

    def _clear_gradients(self) -> None:
        for t in self.trained:
            for p in t.group.params:
                p.grad = None

    def step_group(self, t: Trained) -> None:
        """Take one group's part of a step, keeping its gradients."""
        if t.master:
            t.master.before_step()
        if t.group.config.rescale is not None and self._rescales(t.group, self.now):
            with_gradient = [p for p in t.stepped.params if p.grad is not None]
            rescale(with_gradient, t.group.config.rescale.norm)
        t.optimizer.step()
        if t.qk_clip:
            t.qk_clip.after_step()
        if t.master:
            t.master.after_step()

    def numbers(self) -> dict[str, Any]:
        """Return what the optimizers keep on the host, by group and name: a captured step cannot change it."""
        found: dict[str, Any] = {}
        for t in self.trained:
            device = t.group.params[0].device
            kept = [(f"state {i}", state) for i, state in enumerate(t.optimizer.state.values())]
            kept += [(f"options {i}", options) for i, options in enumerate(t.optimizer.param_groups)]
            for where, (name, value) in ((where, item) for where, values in kept for item in values.items()):
                if isinstance(value, Tensor) and value.device != device:
                    value = value.tolist()
                if isinstance(value, int | float | list):
                    found[f"optimizers.{t.group.name}: {name} of {where}"] = value
        return found

    @torch.no_grad()
    def reset(self) -> None:
        """Reset all optimizer state in place, and clear the gradients; the weights are unchanged."""
        self._clear_gradients()
        for t in self.trained:
            for state in t.optimizer.state.values():
                for value in state.values():
                    if isinstance(value, Tensor):
                        value.zero_()
            if t.master:
                t.master.reset()
        self.before_step(0)
