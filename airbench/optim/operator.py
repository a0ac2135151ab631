"""A convolution as a linear map on images: block-circulant, so that the Fourier transform makes a matrix per frequency.

On periodic images of side n (stride 1), the map of kernels W ``(out, in, h, w)`` is unitarily the same as the complex
matrices Ŵ(f) = Σₚ W[:, :, p] · exp(-2πi f·p / n), one ``(out, in)`` for each of the n² frequencies f: its singular
values are theirs (Sedghi, Gupta & Long 2019, arXiv:1805.10408), and its orthogonal factor is the map whose matrices are
theirs. That factor's kernels are n × n. Truncating them to h × w gives the map nearest to it, in Frobenius norm, among
those with kernels of h × w, by Parseval's theorem.

The transform of nine taps at a few frequencies is two small matrix products. Unlike cuFFT's plans they need nothing
before a CUDA graph captures them.
"""

from functools import cache
from itertools import product
from math import prod

import torch
from torch import Tensor


def operator_matrices(kernels: Tensor, side: int) -> Tensor:
    """Return the map of ``kernels`` ``(out, in, *positions)`` at every frequency, as real matrices.

    ``(F, 2·out, 2·in)`` in float32 or better, each [[Re, -Im], [Im, Re]] of Ŵ(f): its orthogonal factor is of that form
    again, that of Ŵ(f). Of the frequencies f and -f, whose matrices are complex conjugates, only one is there.
    """
    positions = tuple(kernels.shape[2:])
    cos, sin, _ = _transform(positions, side, _wide(kernels.dtype), kernels.device)
    taps = kernels.to(cos.dtype).flatten(2).movedim(-1, 0).flatten(1)
    shape = (len(cos), kernels.shape[0], kernels.shape[1])
    real, imaginary = (cos @ taps).reshape(shape), -(sin @ taps).reshape(shape)
    return torch.cat([torch.cat([real, -imaginary], -1), torch.cat([imaginary, real], -1)], -2)


def operator_kernels(matrices: Tensor, shape: tuple[int, ...], side: int) -> Tensor:
    """Return the kernels of ``shape`` ``(out, in, *positions)`` whose map is nearest to the one given.

    ``matrices`` are those of :func:`operator_matrices`, of which this is the inverse where ``shape`` holds them all.
    """
    outputs, inputs, *positions = shape
    cos, sin, weight = _transform(tuple(positions), side, _wide(matrices.dtype), matrices.device)
    (a, b), (c, d) = (half.split(inputs, -1) for half in matrices.to(cos.dtype).split(outputs, -2))
    real, imaginary = ((a + d) / 2).flatten(1), ((c - b) / 2).flatten(1)
    taps = (cos * weight).mT @ real - (sin * weight).mT @ imaginary
    return taps.reshape(-1, outputs, inputs).movedim(0, -1).reshape(shape)


@cache
def _transform(
    positions: tuple[int, ...], side: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Return cos and sin of 2π f·p / side ``(F, taps)``, and the weight ``(F, 1)`` of each f in the inverse transform.

    The weight counts f and -f. A kernel larger than the images makes them larger. Kept, since a copy to the device may
    not be captured.
    """
    sides = [max(side, size) for size in positions]
    every = product(*(range(n) for n in sides))
    frequencies = [f for f in every if f <= _negative(f, sides)]
    offsets = list(product(*(range(-(size // 2), size - size // 2) for size in positions)))
    turns = torch.tensor(
        [[sum(k * p / n for k, p, n in zip(f, offset, sides, strict=True)) for offset in offsets] for f in frequencies],
        dtype=torch.float64,
    )
    weight = torch.tensor([[1.0 if f == _negative(f, sides) else 2.0] for f in frequencies], dtype=torch.float64)
    angle = 2 * torch.pi * turns
    cos, sin, share = (t.to(device, dtype) for t in (angle.cos(), angle.sin(), weight / prod(sides)))
    return cos, sin, share


def _negative(frequency: tuple[int, ...], sides: list[int]) -> tuple[int, ...]:
    return tuple(-k % n for k, n in zip(frequency, sides, strict=True))


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)
