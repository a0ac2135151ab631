"""Benchmarks of the parts, each against another implementation in the same process."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from airbench.benchmark.profile import layer_inputs
from airbench.benchmark.step import CIFAR, SEEDS, build_step, new_net, random_images, with_engine
from airbench.data.loader import DeviceSplit, Loader
from airbench.data.transforms import build_transforms
from airbench.device import Machine, send
from airbench.kernels import kernels
from airbench.kernels.symmetric import captured, gram, gram_polynomial, why_no_triton
from airbench.net.base import build_net
from airbench.net.layers import Conv3x3, NormActivation
from airbench.optim.orthogonalize import newton_schulz, orthogonalize_all, svd
from airbench.recipe import Recipe
from airbench.recipe.schema import Evaluate
from airbench.recipe.transforms import Flip, Translate
from airbench.training.evaluate import predict
from airbench.training.peak import measure_peak
from airbench.training.setup import net_context
from airbench.training.timing import Spread, interleaved, ratios

Work = Callable[[], Any]

PYTORCH = "PyTorch's operations"


@dataclass(frozen=True)
class Row:
    """A task, its implementation here, another one, and the time that each takes."""

    work: str
    way: str
    other: str
    seconds: Spread
    other_seconds: Spread
    ratio: Spread
    """Seconds of the other implementation over seconds of ours."""


def run_bench(recipe: Recipe, machine: Machine, batch_size: int = 500, min_seconds: float = 2.0) -> Iterator[Row]:
    """Measure one row after the other, each for at least ``min_seconds``.

    ``batch_size`` is the batch size of training steps; a fraction of the recipe's keeps them short.
    """
    machine.use()
    measure = partial(_row, machine, min_seconds)
    if machine.dtype != torch.float32:
        yield _step(measure, recipe, machine, batch_size)
    if machine.device.type == "cpu" and kernels() is not None:
        yield _fused_step(measure, recipe, machine, batch_size)
        yield from _convolutions(measure, recipe, machine, batch_size)
        yield from _fused_layers(measure, recipe, machine, batch_size)
        yield _fused_tta(measure, recipe, machine)
    yield _loader(measure, machine)
    yield from _orthogonalizers(measure, recipe, machine)
    if machine.device.type == "cuda" and why_no_triton(machine.device) is None:
        yield from _symmetric_products(measure, recipe, machine)
    yield _tta(measure, recipe, machine)


def rates(machine: Machine) -> dict[str, Any]:
    """Measure the machine's peak rates: matrix products in TFLOP/s, copies in GB/s."""
    machine.use()
    return measure_peak(machine.device, machine.fp32)


def _row(
    machine: Machine, min_seconds: float, work: str, way: str, other: str, fast: Work, slow: Work, repeats: int = 5
) -> Row:
    taken = interleaved({"fast": fast, "slow": slow}, machine.device, repeats, min_seconds)
    a, b = taken["fast"], taken["slow"]
    return Row(work, way, other, Spread.of(a), Spread.of(b), ratios(b, a))


def _step(measure: Callable[..., Row], recipe: Recipe, machine: Machine, batch: int) -> Row:
    return measure(
        f"training step, batch {batch}", machine.precision, "fp32",
        build_step(recipe, machine, machine.dtype, batch), build_step(recipe, machine, torch.float32, batch), repeats=3,
    )  # fmt: skip


def _fused_step(measure: Callable[..., Row], recipe: Recipe, machine: Machine, batch: int) -> Row:
    works = [build_step(with_engine(recipe, fused=fused), machine, machine.dtype, batch) for fused in (True, False)]
    return measure(f"training step, batch {batch}", "kernels", PYTORCH, *works)


def _convolutions(measure: Callable[..., Row], recipe: Recipe, machine: Machine, batch: int) -> Iterator[Row]:
    """Measure each distinct 3×3 convolution of the net, forward and backward, that our kernels compute."""
    net = new_net(recipe, machine, machine.dtype)
    images = random_images(batch, CIFAR, machine, machine.dtype)
    seen = set()
    for _, layer, x in layer_inputs(net, images):
        if not isinstance(layer, Conv3x3) or not layer.tile(x) or (x.shape, layer.out_channels) in seen:
            continue
        seen.add((x.shape, layer.out_channels))
        pytorch = Conv3x3(layer.in_channels, layer.out_channels, fused=False)
        pytorch.weight = layer.weight
        _, channels, height, width = x.shape
        yield measure(
            f"convolution: {batch}×{channels}×{height}×{width} to {layer.out_channels}",
            f"Winograd, tiles of {layer.tile(x)}", PYTORCH,
            *(_forward_backward(conv, x.shape, machine.dtype) for conv in (layer, pytorch)),
        )  # fmt: skip


def _fused_layers(measure: Callable[..., Row], recipe: Recipe, machine: Machine, batch: int) -> Iterator[Row]:
    """Measure the first norm that pools and the first that does not, if the net has them."""
    net = new_net(recipe, machine, machine.dtype)
    seen = set()
    for _, layer, x in layer_inputs(net, random_images(batch, CIFAR, machine, machine.dtype)):
        if not isinstance(layer, NormActivation) or layer.pool in seen:
            continue
        seen.add(layer.pool)
        layers = [
            NormActivation(
                layer.num_features, layer.eps, layer.momentum, pool=layer.pool, activation=layer.activation, fused=fused
            )
            for fused in (True, False)
        ]
        shape = tuple(x.shape)
        yield measure(
            f"{'pool, ' if layer.pool else ''}norm, activation: {'×'.join(map(str, shape))}", "kernels", PYTORCH,
            *(_forward_backward(each, shape, machine.dtype) for each in layers),
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
    flip, shift = (Flip(kind="random"), Translate(pixels=2))
    transforms = build_transforms({"flip": flip, "translate": shift}, CIFAR)
    loader = Loader(
        split, transforms, 500, machine.dtype, order=SEEDS.generator("order"), augment=SEEDS.generator("augment")
    )

    def epoch() -> None:
        for _ in loader.epoch():
            pass

    def by_masks() -> None:
        order = torch.randperm(count, device=machine.device)
        flips, shifts = (
            send(draw, machine.device)
            for transform in transforms
            if (draw := transform.draw(count, loader.augment)) is not None
        )
        for index in order.split(500):
            batch = crop_by_masks(loader.images, index, shifts[index], 32)
            torch.where(flips[index][:, None, None, None], batch.flip(2), batch)

    return measure(
        f"augmentation of {count:,} images", "one gather per batch", "a mask for each of 25 shifts",
        epoch, by_masks,
    )  # fmt: skip


def crop_by_masks(padded: Tensor, index: Tensor, shift: Tensor, side: int) -> Tensor:
    """Crop shift by shift, with a mask for each: the usual implementation, and the reference in tests."""
    images = padded[index]
    out = images.new_empty(len(index), side, side, images.shape[3])
    for row in range(padded.shape[1] - side + 1):
        for column in range(padded.shape[2] - side + 1):
            mask = (shift[:, 0] == row) & (shift[:, 1] == column)
            out[mask] = images[mask, row : row + side, column : column + side]
    return out


def _filter_shapes(recipe: Recipe) -> list[torch.Size]:
    net = build_net(recipe.net, net_context(recipe, CIFAR), torch.device("meta"), torch.float32)
    return [p.flatten(1).shape for p in net.parameters() if p.ndim == 4 and p.requires_grad]


def _symmetric_products(measure: Callable[..., Row], recipe: Recipe, machine: Machine) -> Iterator[Row]:
    """Measure both products of a Newton-Schulz step in a CUDA graph, bfloat16: all filters padded, and by shape.

    ``orthogonalize.kernel: auto`` keeps the faster one for each of these shapes.
    """
    wide = [tuple(sorted(shape)) for shape in _filter_shapes(recipe)]
    largest = (len(wide), max(m for m, _ in wide), max(n for _, n in wide))
    for shape in dict.fromkeys([largest, *((wide.count(each), *each) for each in wide)]):
        x = torch.randn(shape, generator=SEEDS.generator("init")).to(machine.device, torch.bfloat16) / shape[2] ** 0.5
        a = gram(x)
        for work, product in (
            ("X Xᵀ", partial(gram, x)),
            ("b A + c A A", partial(gram_polynomial, a, -4.775, 2.0315)),
        ):
            kernels = (captured(partial(product, kernel=kernel)) for kernel in ("triton", "torch"))
            yield measure(f"20 products {work}, {'×'.join(map(str, shape))}", "Triton", "cuBLAS", *kernels)


def _orthogonalizers(measure: Callable[..., Row], recipe: Recipe, machine: Machine) -> Iterator[Row]:
    generator = SEEDS.generator("init")
    shapes = _filter_shapes(recipe)
    filters = [torch.randn(shape, generator=generator).to(machine.device, machine.dtype) for shape in shapes]
    exact = partial(newton_schulz, steps=3, dtype=torch.float32)
    in_half = machine.dtype != torch.float32  # as in training: emulated bfloat16 would take minutes
    quintic = partial(newton_schulz, steps=3, dtype=torch.bfloat16) if in_half else exact
    all_of = partial(orthogonalize_all, filters, padded=False)
    yield measure(
        "3 Newton-Schulz steps, all filters", "batched by shape", "one by one",
        lambda: all_of(quintic), lambda: [quintic(f) for f in filters],
    )  # fmt: skip
    yield measure(
        "the same", "batched by shape", "one padded batch",
        lambda: all_of(quintic), lambda: all_of(quintic, padded=True),
    )  # fmt: skip
    if in_half:
        yield measure("the same", "bfloat16", "float32", lambda: all_of(quintic), lambda: all_of(exact))
    yield measure(
        "orthogonal factors, all filters", "3 Newton-Schulz steps", "svd",
        lambda: all_of(quintic), lambda: all_of(svd), repeats=3,
    )  # fmt: skip


def _evaluation(recipe: Recipe, machine: Machine, count: int, evaluate: Evaluate) -> Work:
    net = new_net(recipe, machine, machine.dtype)
    return partial(predict, net, random_images(count, CIFAR, machine, machine.dtype), evaluate)


def _tta(measure: Callable[..., Row], recipe: Recipe, machine: Machine, count: int = 1000) -> Row:
    evaluate = Evaluate(batch_size=count)
    works = (_evaluation(recipe, machine, count, each) for each in (evaluate.without_tta(), evaluate))
    return measure(f"evaluation of {count:,} images", "one view", "six views (TTA)", *works, repeats=3)


def _fused_tta(measure: Callable[..., Row], recipe: Recipe, machine: Machine, count: int = 500) -> Row:
    evaluate = Evaluate(batch_size=count)
    works = (_evaluation(with_engine(recipe, fused=fused), machine, count, evaluate) for fused in (True, False))
    return measure(f"six views of {count:,} images (TTA)", "kernels", PYTORCH, *works, repeats=3)


def bench_cells(row: Row) -> tuple[str, ...]:
    """Format a row of the table."""
    return (
        row.work,
        row.way,
        f"{1e3 * row.seconds.median:.1f}",
        row.other,
        f"{1e3 * row.other_seconds.median:.1f}",
        f"{row.ratio.median:.2f} ({row.ratio.min:.2f} to {row.ratio.max:.2f})",
    )


HEADER = ("task", "here", "ms", "instead", "ms", "times as long")
