"""How the training step is executed on this machine: eager, compiled or captured."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from airbench.device import Machine
from airbench.errors import RecipeError
from airbench.kernels.symmetric import why_no_triton
from airbench.net.base import Net
from airbench.recipe import Recipe
from airbench.training.loss import losses

ForwardLoss = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Images ``(B, C, H, W)`` and targets → losses per example ``(B,)`` and logits ``(B, classes)``."""


@dataclass(frozen=True)
class Execution:
    """How a step is executed, with every `auto` resolved for the machine."""

    compile: str
    """``none``, or a mode of torch.compile."""
    cuda_graph: bool

    note: str = ""
    """Why steps are not executed in the fastest way, if they are not."""

    @classmethod
    def choose(cls, recipe: Recipe, machine: Machine) -> "Execution":
        """Choose for ``recipe`` on ``machine``. Raises RecipeError if the recipe asks for a CUDA graph without CUDA."""
        on_cuda = machine.device.type == "cuda"
        compile_mode, graph, notes = recipe.engine.compile, recipe.engine.cuda_graph, []
        if compile_mode == "auto":
            obstacle = why_no_triton(machine.device) if on_cuda else None
            compile_mode = "default" if on_cuda and obstacle is None else "none"
            notes += [obstacle] if obstacle else []
        if graph and not on_cuda:
            raise RecipeError(
                f"engine.cuda_graph = true: there are no CUDA graphs on {machine.device.type}; leave it out"
            )
        if graph is None:
            obstacle = recipe.not_capturable() if on_cuda else None
            graph = on_cuda and obstacle is None
            notes += [f"a CUDA graph cannot capture {obstacle}"] if obstacle else []
        if on_cuda and any(group.symmetric_kernel() != "torch" for group in recipe.optimizers.values()):
            obstacle = why_no_triton(machine.device)
            notes += [f"orthogonalize.kernel is torch: {obstacle}"] if obstacle else []
        return cls(compile_mode, graph, "; ".join(notes))

    def without(self, error: Exception, recipe: Recipe) -> "Execution | None":
        """Return the fallback after ``error`` in the warm-up; None if the recipe leaves no choice.

        Gives up compilation first: a step that does not compile cannot be captured compiled either.
        """
        if self.compile != "none" and recipe.engine.compile == "auto" and _is_about_compiling(error):
            return replace(self, compile="none")
        if self.cuda_graph and recipe.engine.cuda_graph is None and isinstance(error, RuntimeError):
            return replace(self, cuda_graph=False)
        return None

    def __str__(self) -> str:
        compiled = "not compiled" if self.compile == "none" else f"compiled ({self.compile})"
        captured = "captured as a CUDA graph" if self.cuda_graph else "not captured"
        return f"{compiled}, {captured}" + (f" ({self.note})" if self.note else "")


EAGER = Execution("none", cuda_graph=False)
"""Neither compiled nor captured."""


def forward_loss(net: Net, label_smoothing: float, execution: Execution) -> ForwardLoss:
    """Return net and loss as one function, compiled if ``execution`` says so."""

    def compute(images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        logits = net(images)
        return losses(logits, targets, label_smoothing), logits

    return compute if execution.compile == "none" else _compiled(compute, execution)


def forward(net: Net, execution: Execution) -> Callable[[Tensor], Tensor]:
    """Return the net for evaluation, compiled if ``execution`` says so."""
    return net if execution.compile == "none" else _compiled(lambda images: net(images), execution)


def no_silent_fallback(execution: Execution) -> AbstractContextManager[Any]:
    """Let PyTorch raise an error where it would stop compiling, after many variants, and go on uncompiled."""
    if execution.compile == "none":
        return nullcontext()
    return torch._dynamo.config.patch(fail_on_recompile_limit_hit=True)


def _compiled(function: Callable[..., Any], execution: Execution) -> Any:
    mode = execution.compile
    if mode == "max-autotune":  # without graphs of its own, which would overwrite results that are read later
        mode = "max-autotune-no-cudagraphs"
    return torch.compile(function, mode=mode, dynamic=False)


def _is_about_compiling(error: Exception) -> bool:
    module = type(error).__module__
    return module.startswith(("torch._dynamo", "torch._inductor", "triton"))
