"""What our own optimizers share: a step is taken group by group, settings are checked, momentum has a buffer."""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer


class GroupwiseOptimizer(Optimizer):
    """An optimizer whose step is that of each of its groups, one after the other."""

    not_in_state_dict: ClassVar[tuple[str, ...]] = ()
    """Attributes that copies and pickles include, and ``state_dict`` leaves out: functions, and how they are called."""

    def __getstate__(self) -> dict[str, Any]:
        """Include what ``state_dict`` leaves out."""
        return {**super().__getstate__(), **{name: getattr(self, name) for name in self.not_in_state_dict}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Accept a state that was saved before some setting existed."""
        super().__setstate__(state)
        for group in self.param_groups:
            for key, value in self.defaults.items():
                group.setdefault(key, value)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step. ``closure`` recomputes the loss, as for any PyTorch optimizer."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._step_group(group)
        return loss

    def _step_group(self, group: dict[str, Any]) -> None:
        """Take the step of a group."""
        raise NotImplementedError

    def _with_gradient(self, group: dict[str, Any]) -> list[Tensor]:
        """Return the parameters of a group that are to be stepped. Raises ValueError for a sparse gradient."""
        params = [p for p in group["params"] if p.grad is not None and p.numel()]
        if any(p.grad.is_sparse for p in params):
            raise ValueError(f"{type(self).__name__}: sparse gradient; use another optimizer for this parameter")
        return params

    def _buffer(self, p: Tensor) -> Tensor:
        """Return a parameter's momentum buffer, of zeros at first."""
        state = self.state[p]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(p)
        buffer: Tensor = state["momentum_buffer"]
        return buffer


def check_settings(optimizer: str, settings: Iterable[tuple[str, Any, bool]]) -> None:
    """Raise ValueError for the first setting out of range; each is (name, value, whether it is in range)."""
    for name, value, fine in settings:
        if not fine:
            raise ValueError(f"{optimizer}: {name} = {value} is out of range")
