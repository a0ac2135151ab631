"""Profile of a training step, by part of the net."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from airbench.benchmark.step import CIFAR, MeasuredStep, build_step
from airbench.data.transforms import ImageShape
from airbench.device import Machine
from airbench.recipe import Recipe
from airbench.training.loss import losses
from airbench.training.timing import Spread, interleaved


@dataclass(frozen=True)
class Part:
    """A part of a step: a layer, the loss or an optimizer. Times in seconds; NaN where there is nothing to do."""

    name: str
    forward: float
    input_gradient: float
    weight_gradient: float
    flop: float
    """Floating-point operations of its matrix products and convolutions, all passes, counted as for direct convolution;
    Winograd's method takes fewer."""

    @property
    def seconds(self) -> float:
        """Seconds of all passes together."""
        return sum(s for s in (self.forward, self.input_gradient, self.weight_gradient) if s == s)

    @property
    def tflops(self) -> float:
        """TFLOP/s; NaN for a part without matrix products."""
        return self.flop / self.seconds / 1e12 if self.flop else float("nan")


@dataclass(frozen=True)
class Profile:
    """The parts of a step, timed separately, and the whole step."""

    parts: list[Part]
    step: Spread
    batch_size: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "batch_size": self.batch_size,
            "step_seconds": vars(self.step),
            "parts": [{**_without_nan(vars(p)), "seconds": p.seconds} for p in self.parts],
        }


def _without_nan(values: dict[str, Any]) -> dict[str, Any]:
    return {key: None if value != value else value for key, value in values.items()}


def profile_step(recipe: Recipe, machine: Machine, shape: ImageShape = CIFAR, repeats: int = 3) -> Profile:
    """Time a step of ``recipe`` on random images, and each layer, the loss and each optimizer separately.

    Each layer is timed on the input that it has in the net: medians of ``repeats``, input and weight gradient
    separately. The parts do not add up exactly to the step, since the cache holds other data when each is timed.
    """
    machine.use()
    batch = recipe.train.batch_size
    step = build_step(recipe, machine, machine.dtype, batch, shape)
    for _ in range(2):  # warm up the allocator
        step()
    whole = interleaved({"step": step}, machine.device, repeats)
    parts = [
        _layer(name, layer, x, machine, repeats, first=position == 0)
        for position, (name, layer, x) in enumerate(layer_inputs(step.net, step.batch.images))
    ]
    parts.append(_loss(step, machine, repeats))
    parts += _optimizers(step, machine, repeats)
    return Profile(parts, Spread.of(whole["step"]), batch)


def layer_inputs(net: nn.Module, images: Tensor) -> list[tuple[str, nn.Module, Tensor]]:
    """Return name, module and input of every leaf layer, in the order in which the net calls them."""
    seen: list[tuple[str, nn.Module, Tensor]] = []
    names = {module: name for name, module in net.named_modules() if not list(module.children())}

    def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append((names[module], module, inputs[0].detach()))

    hooks = [module.register_forward_pre_hook(note) for module in names]
    with torch.no_grad():
        net(images)
    for hook in hooks:
        hook.remove()
    return seen


def _layer(name: str, layer: nn.Module, x: Tensor, machine: Machine, repeats: int, *, first: bool) -> Part:
    """Time a layer; the ``first`` layer of a net has no input gradient."""
    x = x.clone().requires_grad_(not first)
    params = [p for p in layer.parameters() if p.requires_grad]
    out = layer(x).detach()
    gradient = torch.randn_like(out)
    works: dict[str, Callable[[], Any]] = {"forward": partial(layer, x)}
    flop = 0.0
    if isinstance(layer, nn.Conv2d | nn.Linear):
        if not first:
            works["input"] = _gradient(layer, x, [], gradient)
        if params:
            works["weight"] = _gradient(layer, x.detach(), params, gradient)
        passes = 1 + (not first) + layer.weight.requires_grad
        flop = 2.0 * out.numel() * layer.weight[0].numel() * passes
    elif x.requires_grad or params:  # batch normalisation takes both gradients from one pass over the same sums
        works["input"] = _gradient(layer, x, params, gradient)
    seconds = _medians(works, machine, repeats)
    return Part(name, seconds["forward"], seconds.get("input", NAN), seconds.get("weight", NAN), flop)


def _gradient(layer: nn.Module, x: Tensor, params: list[nn.Parameter], gradient: Tensor) -> Callable[[], Any]:
    """Return the backward pass of ``layer`` with respect to ``x``, if it needs a gradient, and ``params`` only."""
    others = [p for p in layer.parameters() if p.requires_grad and all(p is not mine for mine in params)]
    for p in others:
        p.requires_grad_(False)
    out = layer(x)
    for p in others:
        p.requires_grad_(True)
    wanted = [*([x] if x.requires_grad else []), *params]
    return partial(torch.autograd.grad, out, wanted, gradient, retain_graph=True)


NAN = float("nan")


def _medians(works: dict[str, Callable[[], Any]], machine: Machine, repeats: int) -> dict[str, float]:
    return {name: Spread.of(s).median for name, s in interleaved(works, machine.device, repeats).items()}


def _loss(step: MeasuredStep, machine: Machine, repeats: int) -> Part:
    with torch.no_grad():
        logits = step.net(step.batch.images)
    logits.requires_grad_()

    def loss() -> Tensor:
        return losses(logits, step.batch.targets, step.label_smoothing).sum()

    value = loss()
    works: dict[str, Callable[[], Any]] = {
        "forward": loss,
        "input": partial(torch.autograd.grad, value, logits, retain_graph=True),
    }
    seconds = _medians(works, machine, repeats)
    return Part("loss", seconds["forward"], seconds["input"], NAN, 0.0)


def _optimizers(step: MeasuredStep, machine: Machine, repeats: int) -> list[Part]:
    losses(step.net(step.batch.images), step.batch.targets, step.label_smoothing).sum().backward()
    works: dict[str, Callable[[], Any]] = {
        f"{type(t.optimizer).__name__} ({t.group.name})": partial(step.optimizers.step_group, t)
        for t in step.optimizers.trained
    }
    seconds = _medians(works, machine, max(repeats, 5))
    return [Part(name, seconds[name], NAN, NAN, 0.0) for name in works]


def profile_rows(profile: Profile, peak_tflops: float | None, unit: str = "ms") -> list[tuple[str, ...]]:
    """Return a table: time by part and pass in ``unit`` (ms or µs), shares of the sum, and how near products are to
    the peak.
    """
    scale = {"ms": 1e3, "µs": 1e6}[unit]
    whole = sum(part.seconds for part in profile.parts)
    rows: list[tuple[str, ...]] = [
        ("part", "forward", "input grad", "weight grad", unit, "share", "GFLOP", "TFLOP/s", "of peak")
    ]
    for part in profile.parts:
        passes = (part.forward, part.input_gradient, part.weight_gradient)
        rows.append(
            (
                part.name,
                *("-" if s != s else f"{scale * s:.1f}" for s in passes),
                f"{scale * part.seconds:.1f}",
                f"{part.seconds / whole:.1%}" if whole else "-",
                f"{part.flop / 1e9:.1f}" if part.flop else "-",
                f"{part.tflops:.2f}" if part.flop and part.seconds else "-",
                f"{part.tflops / peak_tflops:.0%}" if part.flop and part.seconds and peak_tflops else "-",
            )
        )
    rows.append(("sum of parts", "", "", "", f"{scale * whole:.1f}", "100.0%", "", "", ""))
    step = profile.step
    spread = f"{scale * step.median:.1f} ({scale * step.min:.1f} to {scale * step.max:.1f})"
    rows.append(("a whole step", "", "", "", spread, f"{step.median / whole:.1%}" if whole else "-", "", "", ""))
    return rows
