"""The Triton kernel in Triton's interpreter, on the CPU: a program of its own, since that is chosen at import.

    TRITON_INTERPRET=1 python -m tests.kernels.interpreted

reads cases from standard input as JSON, ``[[L, m, n, dtype, block, polynomial, transposed], …]``, and prints a line of
JSON for each: the largest error against float64 and the largest error that rounding the exact result has, both over the
largest element, and whether the result is symmetric to the bit.
"""

import json
import sys

import torch

from airbench.kernels.symmetric_triton import symmetric

B, C = -4.7750, 2.0315


def measure(
    count: int, m: int, n: int, dtype: str, block: int, polynomial: bool, transposed: bool
) -> tuple[float, float, bool]:
    generator = torch.Generator().manual_seed(m + n)
    shape = (count, n, m) if transposed else (count, m, n)
    x = torch.randn(shape, generator=generator).to(getattr(torch, dtype))
    x = (x.mT if transposed else x) / n**0.5
    exact = x.double() @ x.double().mT
    if polynomial:
        a = exact.to(x.dtype)
        exact = B * a.double() + C * a.double() @ a.double()
        found = symmetric(a, a, C, B, block)
    else:
        found = symmetric(x, None, 1.0, 0.0, block)
    largest = exact.abs().max()
    errors = [((t.double() - exact).abs().max() / largest).item() for t in (found, exact.to(x.dtype))]
    return errors[0], errors[1], torch.equal(found, found.mT)


if __name__ == "__main__":
    for case in json.load(sys.stdin):
        print(json.dumps(measure(*case)), flush=True)
