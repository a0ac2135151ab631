"""What is fast here, each beside its slow twin in the same process."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from airbench.training.flops import measure_peak
from airbench.benchmark.profile import layer_inputs
from airbench.benchmark.step import SEEDS, build_step, with_fused
from airbench.benchmark.timing import Spread, interleaved, ratios
from airbench.data.loader import DeviceSplit, Loader
from airbench.device import Machine
from airbench.training.evaluate import plain, predict
from airbench.net.cifarnet import build_net
from airbench.kernels.conv import Conv3x3
from airbench.kernels.fused import NormActivation
from airbench.kernels import kernels
from airbench.optim.orthogonalize import newton_schulz, orthogonalize_all, svd
from airbench.recipe import Recipe
from airbench.recipe.schema import Augment, Evaluate

Work = Callable[[], Any]

PYTORCH = "PyTorch's operations"


@dataclass(frozen=True)
class Row:
    """A piece of work, how it is done here, the other way to do it, and what both took."""

    work: str
    way: str
    twin: str
    seconds: Spread
    twin_seconds: Spread
    ratio: Spread
    """How many times as long the twin takes."""


def run_bench(recipe: Recipe, machine: Machine, batch_size: int = 500, least_seconds: float = 2.0) -> Iterator[Row]:
    """Measure row after row, each for ``least_seconds`` at least.

    ``batch_size`` is that of the training step, a part of the recipe's to be quick.
    """
    machine.use_threads()
    measure = partial(_row, machine, least_seconds)
    if machine.dtype != torch.float32:
        yield _step(measure, recipe, machine, batch_size)
    if machine.device.type == "cpu" and kernels() is not None:
        yield _fused_step(measure, recipe, machine, batch_size)
        yield from _convolutions(measure, recipe, machine, batch_size)
        yield from _fused_layers(measure, recipe, machine, batch_size)
        yield _fused_tta(measure, recipe, machine)
    yield _loader(measure, machine)
    yield from _orthogonalizers(measure, recipe, machine)
    yield _tta(measure, recipe, machine)


def rates(machine: Machine) -> dict[str, Any]:
    """What the machine can do at best: products in TFLOP/s, copies in GB/s."""
    machine.use_threads()
    return measure_peak(machine.device)


def _row(
    machine: Machine, least_seconds: float, work: str, way: str, twin: str, fast: Work, slow: Work, repeats: int = 5
) -> Row:
    taken = interleaved({"fast": fast, "slow": slow}, machine.device, repeats, least_seconds)
    a, b = taken["fast"], taken["slow"]
    return Row(work, way, twin, Spread.of(a), Spread.of(b), ratios(b, a))


def _step(measure: Callable[..., Row], recipe: Recipe, machine: Machine, batch: int) -> Row:
    return measure(
        f"training step, batch {batch}", machine.precision, "fp32",
        build_step(recipe, machine, machine.dtype, batch), build_step(recipe, machine, torch.float32, batch), repeats=3,
    )  # fmt: skip


def _fused_step(measure: Callable[..., Row], recipe: Recipe, machine: Machine, batch: int) -> Row:
    works = [build_step(with_fused(recipe, fused), machine, machine.dtype, batch) for fused in (True, False)]
    return measure(f"training step, batch {batch}", "kernels", PYTORCH, *works)


def _convolutions(measure: Callable[..., Row], recipe: Recipe, machine: Machine, batch: int) -> Iterator[Row]:
    """Every 3×3 convolution of the net, forward and backward, those of a shape once; none where PyTorch does them."""
    net = build_net(recipe.net, 10, 32, machine.device, machine.dtype)
    net.reset(SEEDS.generator("init"))
    images = torch.zeros(batch, 3, 32, 32, dtype=machine.dtype).contiguous(memory_format=torch.channels_last)
    seen = set()
    for _, layer, x in layer_inputs(net, images):
        if not isinstance(layer, Conv3x3) or not layer.tile(x) or (x.shape, layer.out_channels) in seen:
            continue
        seen.add((x.shape, layer.out_channels))
        twin = Conv3x3(layer.in_channels, layer.out_channels, fused=False)
        twin.weight = layer.weight
        _, channels, height, width = x.shape
        yield measure(
            f"convolution: {batch}×{channels}×{height}×{width} to {layer.out_channels}",
            f"Winograd, tiles of {layer.tile(x)}", PYTORCH,
            *(_forward_backward(conv, x.shape, machine.dtype) for conv in (layer, twin)),
        )  # fmt: skip


def _fused_layers(measure: Callable[..., Row], recipe: Recipe, machine: Machine, batch: int) -> Iterator[Row]:
    channels, whole = recipe.net.widths[0], 32 - recipe.net.whiten.kernel + 1
    for work, side, pool in (("pool, norm, activation", whole, True), ("norm, activation", whole // 2, False)):
        layers = [
            NormActivation(channels, 1e-12, 0.4, pool=pool, activation=recipe.net.activation, fused=fused)
            for fused in (True, False)
        ]
        yield measure(
            f"{work}: {batch}×{channels}×{side}×{side}", "kernels", PYTORCH,
            *(_forward_backward(layer, (batch, channels, side, side), machine.dtype) for layer in layers),
        )  # fmt: skip


def _forward_backward(layer: nn.Module, shape: tuple[int, ...], dtype: torch.dtype) -> Work:
    x = torch.randn(shape, generator=SEEDS.generator("augment")).to(dtype)
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    gradient = torch.ones_like(layer(x))
    wanted = [x, *(p for p in layer.parameters() if p.requires_grad)]

    def work() -> None:
        torch.autograd.grad(layer(x), wanted, gradient)

    return work


def _loader(measure: Callable[..., Row], machine: Machine, count: int = 10_000) -> Row:
    images = torch.randint(0, 256, (count, 32, 32, 3), dtype=torch.uint8, generator=SEEDS.generator("augment"))
    split = DeviceSplit(
        images.to(machine.device), torch.zeros(count, dtype=torch.int64, device=machine.device),
        torch.full((3,), 0.5, device=machine.device), torch.full((3,), 0.25, device=machine.device),
    )  # fmt: skip
    loader = Loader(
        split, Augment(flip="random", translate=2), 500, machine.dtype,
        order=SEEDS.generator("order"), augment_generator=SEEDS.generator("augment"),
    )  # fmt: skip

    def epoch() -> None:
        for _ in loader.epoch(0):
            pass

    def by_masks() -> None:
        order = torch.randperm(count, device=machine.device)
        draws = loader.stream.draw(0).to(machine.device)
        for index in order.split(500):
            batch = crop_by_masks(loader.padded, index, draws.shift[index], 32)
            torch.where(draws.flip[index][:, None, None, None], batch.flip(2), batch)

    return measure(
        f"augmentation of {count:,} images", "one gather a batch", "a mask for each of 25 shifts",
        epoch, by_masks,
    )  # fmt: skip


def crop_by_masks(padded: Tensor, index: Tensor, shift: Tensor, side: int) -> Tensor:
    """What :func:`airbench.data.augment.crop` does, shift by shift: the usual way, and its slow twin."""
    images = padded[index]
    out = images.new_empty(len(index), side, side, images.shape[3])
    for row in range(padded.shape[1] - side + 1):
        for column in range(padded.shape[2] - side + 1):
            mask = (shift[:, 0] == row) & (shift[:, 1] == column)
            out[mask] = images[mask, row : row + side, column : column + side]
    return out


def _orthogonalizers(measure: Callable[..., Row], recipe: Recipe, machine: Machine) -> Iterator[Row]:
    net = build_net(recipe.net, 10, 32, torch.device("meta"), torch.float32)
    generator = SEEDS.generator("init")
    shapes = [p.flatten(1).shape for name, p in net.named_parameters() if p.ndim == 4 and name != "whiten.weight"]
    filters = [torch.randn(shape, generator=generator).to(machine.device, machine.dtype) for shape in shapes]
    half = torch.bfloat16
    quintic = partial(newton_schulz, steps=3, dtype=half)
    all_of = partial(orthogonalize_all, filters)
    yield measure(
        "3 Newton-Schulz steps, all filters", "those of a shape at once", "one by one",
        lambda: all_of(quintic), lambda: [quintic(f) for f in filters],
    )  # fmt: skip
    yield measure(
        "the same", "those of a shape at once", "all at once, padded",
        lambda: all_of(quintic), lambda: all_of(quintic, padded=True),
    )  # fmt: skip
    yield measure(
        "the same", "bfloat16", "float32",
        lambda: all_of(quintic), lambda: all_of(partial(newton_schulz, steps=3, dtype=torch.float32)),
    )  # fmt: skip
    yield measure(
        "orthogonal factors, all filters", "3 Newton-Schulz steps", "svd",
        lambda: all_of(quintic), lambda: all_of(svd), repeats=3,
    )  # fmt: skip


def _evaluation(recipe: Recipe, machine: Machine, count: int, knobs: Evaluate) -> Work:
    net = build_net(recipe.net, 10, 32, machine.device, machine.dtype)
    net.reset(SEEDS.generator("init"))
    images = torch.randn(count, 3, 32, 32, generator=SEEDS.generator("augment")).to(machine.device, machine.dtype)
    return partial(predict, net, images.contiguous(memory_format=torch.channels_last), knobs)


def _tta(measure: Callable[..., Row], recipe: Recipe, machine: Machine, count: int = 1000) -> Row:
    knobs = Evaluate(batch_size=count)
    works = (_evaluation(recipe, machine, count, each) for each in (plain(knobs), knobs))
    return measure(f"evaluation of {count:,} images", "one view", "six views (TTA)", *works, repeats=3)


def _fused_tta(measure: Callable[..., Row], recipe: Recipe, machine: Machine, count: int = 500) -> Row:
    knobs = Evaluate(batch_size=count)
    works = (_evaluation(with_fused(recipe, fused), machine, count, knobs) for fused in (True, False))
    return measure(f"six views of {count:,} images (TTA)", "kernels", PYTORCH, *works, repeats=3)


def bench_cells(row: Row) -> tuple[str, ...]:
    """A line of the table."""
    return (
        row.work,
        row.way,
        f"{1e3 * row.seconds.median:.1f}",
        row.twin,
        f"{1e3 * row.twin_seconds.median:.1f}",
        f"{row.ratio.median:.2f} ({row.ratio.least:.2f} to {row.ratio.most:.2f})",
    )


HEADER = ("work", "here", "ms", "twin", "ms", "times as long")
