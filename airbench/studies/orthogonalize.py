"""How near to the exact orthogonal factor does each method come, and how long does it take?"""

import statistics
import time
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from airbench.analysis.figures import COLOURS
from airbench.optim.orthogonalize.coefficients import Values
from airbench.studies.methods import Method, parse_method
from airbench.studies.result import STYLE, Study

METHODS = (
    "newton_schulz:3", "newton_schulz:5", "newton_schulz:5:classical_quintic", "newton_schulz:5:polar_express",
    "newton_schulz:4:classical_quintic:aol", "inverse_sqrt:15", "svd",
)  # fmt: skip


def study_orthogonalize(
    shape: tuple[int, int] = (256, 1024), methods: Sequence[str] = METHODS, seed: int = 42, repeats: int = 7
) -> Study:
    """Each method on one matrix of standard normal numbers, against U Vᵀ by LAPACK in float64.

    Times are medians of ``repeats`` rounds in which every method takes its turn.
    """
    parsed = [parse_method(text) for text in methods]
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    u, s, vh = torch.linalg.svd(x.double(), full_matrices=False)
    exact = u @ vh
    functions = [method.build() for method in parsed]
    seconds: list[list[float]] = [[] for _ in parsed]
    for _ in range(repeats + 1):
        for function, taken in zip(functions, seconds, strict=True):
            start = time.perf_counter()
            function(x)
            taken.append(time.perf_counter() - start)
    numbers: list[dict[str, Any]] = [
        {"method": method.name, **_against(exact, function(x).double()), "milliseconds": _milliseconds(taken[1:])}
        for method, function, taken in zip(parsed, functions, seconds, strict=True)
    ]
    outputs = [torch.einsum("mk,mn,kn->k", u, function(x).double(), vh) for function in functions]
    shares = (s / s.norm()).numpy()
    rows = [("method", "‖X - UVᵀ‖", "cosine", "s min", "s mean", "s max", "ms (median, spread)")]
    rows += [
        (
            str(n["method"]), f"{n['frobenius']:.4f}", f"{n['cosine']:.5f}", f"{n['s_min']:.4f}", f"{n['s_mean']:.4f}",
            f"{n['s_max']:.4f}", f"{n['milliseconds']['median']:.2f}, {n['milliseconds']['least']:.2f} to "
            f"{n['milliseconds']['most']:.2f}",
        )
        for n in numbers
    ]  # fmt: skip
    return Study(
        "orthogonalize",
        {"shape": list(shape), "methods": list(methods), "seed": seed, "repeats": repeats},
        rows,
        numbers,
        _figure(parsed, shares, [o.numpy() for o in outputs]),
        f"X: what a method makes of a {shape[0]}×{shape[1]} matrix of standard normal numbers (seed {seed}); UVᵀ: its "
        "exact orthogonal factor; s: singular values of X.",
    )


def _against(exact: Tensor, out: Tensor) -> dict[str, float]:
    values = torch.linalg.svdvals(out)
    return {
        "frobenius": torch.linalg.matrix_norm(out - exact).item(),
        "cosine": ((out * exact).sum() / (out.norm() * exact.norm())).item(),
        "s_min": values.min().item(),
        "s_mean": values.mean().item(),
        "s_max": values.max().item(),
    }


def _milliseconds(seconds: Sequence[float]) -> dict[str, float]:
    return {
        "median": 1e3 * statistics.median(seconds), "least": 1e3 * min(seconds), "most": 1e3 * max(seconds),
    }  # fmt: skip


def _figure(methods: Sequence[Method], shares: Values, outputs: Sequence[Values]) -> Figure:
    """Left: singular values in against out. Right: Muon's quintic and its iterates."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(12, 5), layout="constrained")
        left, right = figure.subplots(1, 2)
        curve = np.geomspace(1e-3, 1, 800)
        for i, (method, out) in enumerate(zip(methods, outputs, strict=True)):
            colour = COLOURS[i % len(COLOURS)]
            line = method.response(curve)
            if line is not None:
                left.plot(curve, line, color=colour, linewidth=1.3, label=method.name)
            label = None if line is not None else method.name
            left.plot(shares, out, "o", color=colour, markersize=2.5, alpha=0.6, label=label)
        left.set_xscale("log")
        left.set_ylim(-0.05, 1.65)
        left.set_xlabel("singular value in, as a share of the Frobenius norm")
        left.set_ylabel("singular value out")
        left.set_title("curves: exact arithmetic; dots: this matrix")
        left.legend(fontsize=8, loc="lower right")
        x = np.linspace(0, 1.1, 800)
        for steps in range(1, 6):
            method = parse_method(f"newton_schulz:{steps}:muon")
            right.plot(x, method.response(x), color=COLOURS[steps - 1], linewidth=1.3, label=f"{steps}-fold")
        right.axhline(1, color="#555555", linewidth=0.8, linestyle=":")
        right.set_xlabel("s")
        right.set_ylabel("f(… f(s))")
        right.set_title("Muon's f(s) = 3.4445 s - 4.7750 s³ + 2.0315 s⁵, iterated")
        right.legend(fontsize=9, loc="lower right")
        return figure
