"""Symmetric products of batches of matrices on a GPU, of which half is computed and the other half is its mirror image.

A Newton-Schulz step multiplies X Xᵀ and, with A = X Xᵀ, b A + c A A: both are symmetric, so half of their blocks are
enough (Flash-Muon, T. Lin 2025). The kernel is Triton's, for float16 and bfloat16, with sums in float32. Its reference
is PyTorch's product, which is cuBLAS's, and which takes its place where there is no Triton.

Which of the two is faster depends on shape and card. ``auto`` measures it the first time a shape comes, which is in the
warm-up, and keeps to it in this process. They round differently, so that the same seed gives the same bits only where
the same one is used: a trial's record says which.
"""

import math
import sys
from collections.abc import Callable
from functools import cache, partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

BLOCKS = (32, 64, 128)
"""Sizes of blocks that ``auto`` tries."""

DEFAULT_BLOCK = 64
TORCH = 0
"""Stands for PyTorch's product among the sizes of blocks."""

MIN_GAIN = 1.03
"""The kernel must be faster by this factor to be chosen."""

MIN_CAPABILITY = (7, 0)
"""Minimum compute capability of a GPU that Triton supports."""

_choices: dict[str, int] = {}


@cache
def _has_triton(device: torch.device) -> bool:
    return why_no_triton(device) is None


def why_no_triton(device: torch.device) -> str | None:
    """Return why Triton cannot be expected to work for a CUDA ``device``; None if it can."""
    if sys.platform == "win32":
        return "Triton does not support Windows"
    if find_spec("triton") is None:
        return "Triton is not installed"
    major, minor = torch.cuda.get_device_capability(device)
    if (major, minor) < MIN_CAPABILITY:
        return f"Triton does not support GPUs of compute capability {major}.{minor}"
    return None


def takes(x: Tensor) -> bool:
    """Return whether the kernel multiplies matrices like ``x``: a batch in half precision on a GPU of Triton's."""
    return x.is_cuda and x.ndim == 3 and x.dtype in (torch.float16, torch.bfloat16) and _has_triton(x.device)


def gram(x: Tensor, kernel: str = "torch") -> Tensor:
    """Compute X Xᵀ ``(L, m, m)`` for ``x`` ``(L, m, n)``. ``kernel``: ``torch``, ``triton`` or ``auto``.

    What the kernel does not take is computed by PyTorch.
    """
    return _compute(_gram, x, kernel)


def gram_polynomial(a: Tensor, b: float, c: float, kernel: str = "torch") -> Tensor:
    """Compute b A + c A A for symmetric ``a`` ``(L, m, m)``, rounded once."""
    return _compute(partial(_polynomial, b=b, c=c), a, kernel)


def choices() -> dict[str, str]:
    """Return what ``auto`` has chosen in this process, by shape; empty if it has measured nothing."""
    return {key: "torch" if block == TORCH else f"triton, blocks of {block}" for key, block in _choices.items()}


def captured(work: Callable[[], Any], calls: int = 20) -> Callable[[], None]:
    """Return a function that replays ``calls`` calls of ``work`` as a CUDA graph: the GPU's time, not the host's."""
    work()  # compiles, and loads libraries
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=torch.cuda.Stream()):  # PyTorch's own may be of another device
        for _ in range(calls):
            work()
    return graph.replay


def _gram(x: Tensor, block: int) -> Tensor:
    return x @ x.mT if block == TORCH else _triton(x, None, 1.0, 0.0, block)


def _polynomial(a: Tensor, block: int, b: float, c: float) -> Tensor:
    return torch.baddbmm(a, a, a, beta=b, alpha=c) if block == TORCH else _triton(a, a, c, b, block)


def _triton(x: Tensor, base: Tensor | None, alpha: float, beta: float, block: int) -> Tensor:
    from airbench.kernels.symmetric_triton import symmetric

    return symmetric(x, base, alpha, beta, block)


def _compute(product: Callable[[Tensor, int], Tensor], x: Tensor, kernel: str) -> Tensor:
    block = TORCH
    if kernel != "torch" and takes(x):
        block = DEFAULT_BLOCK if kernel == "triton" else _fastest(product, x)
    return product(x, block)


def _fastest(product: Callable[[Tensor, int], Tensor], x: Tensor) -> int:
    """Return the fastest size of blocks, or TORCH; measured once per shape, and never while a graph is captured."""
    kind = "X Xᵀ" if product is _gram else "b A + c A A"
    key = f"{kind}, {'x'.join(map(str, x.shape))}, {str(x.dtype).removeprefix('torch.')}"
    if key not in _choices:
        if torch.cuda.is_current_stream_capturing():
            return TORCH
        seconds = {TORCH: _seconds(partial(product, x, TORCH))}
        seconds |= {block: _seconds_or_never(partial(product, x, block)) for block in BLOCKS}
        best = min(BLOCKS, key=lambda block: seconds[block])
        _choices[key] = best if MIN_GAIN * seconds[best] < seconds[TORCH] else TORCH
    return _choices[key]


def _seconds_or_never(work: Callable[[], Any]) -> float:
    try:
        return _seconds(work)
    except Exception:  # Triton's own errors: blocks of this size are not for this card
        return math.inf


def _seconds(work: Callable[[], Any], repeats: int = 5) -> float:
    replay, times = captured(work), []
    for _ in range(repeats):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        replay()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / 1000)
    return min(times)
