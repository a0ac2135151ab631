"""Peak rates of the machine: matrix products and memory copies."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from airbench.device import cpu_has_bf16
from airbench.training.timing import seconds_of


def measure_peak(device: torch.device, fp32: str = "ieee") -> dict[str, Any]:
    """Measure peak rates of matrix products per precision, in TFLOP/s, and of copies, in GB/s. Takes seconds.

    ``fp32``: how a GPU multiplies float32, ``ieee`` or ``tf32``.

    Takes the best of many repeats, the one least disturbed by other programs. None for a precision without CPU
    instructions: a single such product takes half a minute.
    """
    rates: dict[str, Any] = {}
    on_cpu = device.type == "cpu"
    for name, dtype in (("bf16", torch.bfloat16), ("fp16", torch.float16), ("fp32", torch.float32)):
        if on_cpu and (name == "fp16" or (name == "bf16" and not cpu_has_bf16())):
            rates[f"{name}_tflops"] = None
            continue
        size = 2048 if on_cpu else 8192
        try:
            a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
            with _products_in(fp32):
                seconds = _best_seconds(partial(torch.mm, a, b), device)
            rates[f"{name}_tflops"] = round(2 * size**3 / seconds / 1e12, 4)
        except (RuntimeError, TypeError):
            rates[f"{name}_tflops"] = None
    size = 2**26 if on_cpu else 2**28
    try:
        source, target = torch.ones(size, device=device), torch.ones(size, device=device)
        seconds = _best_seconds(lambda: target.copy_(source), device)
        rates["copy_gbs"] = round(2 * 4 * size / seconds / 1e9, 2)
    except RuntimeError:  # out of memory
        rates["copy_gbs"] = None
    return rates


@contextmanager
def _products_in(fp32: str) -> Iterator[None]:
    """Let a GPU multiply float32 as ``fp32`` says inside the block, as it does in convolutions."""
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    matmul.fp32_precision = fp32
    try:
        yield
    finally:
        matmul.fp32_precision = before


def _best_seconds(work: Callable[[], Any], device: torch.device, budget: float = 0.7) -> float:
    """Return the minimum time of ``work`` in seconds, repeated until ``budget`` seconds have passed."""
    best, spent = math.inf, 0.0
    while spent < budget:
        took = seconds_of(work, device)
        best, spent = min(best, took), spent + took
    return best
