"""What our own optimizers share: a step is taken group by group, settings are checked, momentum has a buffer."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer


class GroupwiseOptimizer(Optimizer):
    """An optimizer whose step is that of each of its groups, one after the other."""

    not_in_state_dict: ClassVar[tuple[str, ...]] = ()
    """Attributes that copies and pickles include, and ``state_dict`` leaves out: functions, and how they are called."""

    keeps_type: ClassVar[tuple[str, ...]] = ()
    """Keys of a parameter's state whose type is not the parameter's, to which PyTorch converts what it loads."""

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]):
        """Raise ValueError for a setting out of range, of ``defaults`` or of a group of its own."""
        self._check_settings(defaults)
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters. Raises ValueError, and adds nothing, if this optimizer cannot train it."""
        super().add_param_group(param_group)
        try:
            self._check_group(self.param_groups[-1])
        except ValueError:
            self.param_groups.pop()
            raise

    def _check_group(self, group: dict[str, Any]) -> None:
        """Raise ValueError for a group that this optimizer cannot train."""
        self._check_settings(group)

    def _check_settings(self, settings: dict[str, Any]) -> None:
        for name, fine in self._in_range(settings).items():
            if not fine:
                raise ValueError(f"{type(self).__name__}: {name} = {settings[name]} is out of range")

    def _in_range(self, settings: dict[str, Any]) -> Mapping[str, bool]:
        """Return, for each setting that has a range, whether its value is within: of those that most optimizers have.

        An optimizer adds its own.
        """
        ranges = {
            "lr": is_rate,
            "momentum": is_share,
            "weight_decay": is_decay,
            "max_momentum_norm": is_limit,
        }
        return {name: fine(settings[name]) for name, fine in ranges.items() if name in settings}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state, as any PyTorch optimizer, so that training goes on with the same bits."""
        super().load_state_dict(state_dict)
        saved = [number for group in state_dict["param_groups"] for number in group["params"]]
        params = [p for group in self.param_groups for p in group["params"]]
        for number, p in zip(saved, params, strict=True):
            state = state_dict["state"].get(number, {})
            for key in self.keeps_type:
                if key in state:
                    self.state[p][key] = state[key].to(p.device, copy=True)

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


def is_rate(lr: float | Tensor) -> bool:
    """Return whether ``lr`` can be a learning rate. A tensor may be on a device, where its value is not read."""
    return isinstance(lr, Tensor) or lr >= 0


def is_share(momentum: float) -> bool:
    """Return whether ``momentum`` can be the fraction of a buffer that is kept."""
    return 0 <= momentum < 1


def is_decay(weight_decay: float) -> bool:
    """Return whether ``weight_decay`` can be one."""
    return weight_decay >= 0


def is_limit(norm: float | None) -> bool:
    """Return whether ``norm`` can be a largest norm; None: no limit."""
    return norm is None or norm > 0
