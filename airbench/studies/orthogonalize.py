"""How close each method comes to the exact orthogonal factor, and how long it takes."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from airbench.analysis.figures import COLOURS
from airbench.device import cpu_has_bf16
from airbench.optim.orthogonalize.coefficients import Values
from airbench.studies.methods import Method, parse_method
from airbench.studies.result import STYLE, Study
from airbench.training.timing import Spread, interleaved

METHODS = (
    "newton_schulz:3", "newton_schulz:5", "newton_schulz:5:classical_quintic", "newton_schulz:5:polar_express",
    "newton_schulz:4:classical_quintic:aol", "inverse_sqrt:15", "svd",
)  # fmt: skip


def study_orthogonalize(
    shape: tuple[int, int] = (256, 1024), methods: Sequence[str] = METHODS, seed: int = 42, repeats: int = 7
) -> Study:
    """Compare methods on one matrix of standard normal entries with U Vᵀ from LAPACK in float64.

    Methods compute in the type in which this machine's processor trains, unless their names say otherwise: bfloat16 is
    a hundred times slower than float32 where a processor only emulates it. Times are medians of ``repeats`` interleaved
    rounds.
    """
    weights = torch.bfloat16 if cpu_has_bf16() else torch.float32
    parsed = [parse_method(text) for text in methods]
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    u, s, vh = torch.linalg.svd(x.double(), full_matrices=False)
    exact = u @ vh
    functions = [method.build(weights) for method in parsed]
    works = {str(i): partial(function, x) for i, function in enumerate(functions)}
    seconds = interleaved(works, torch.device("cpu"), repeats).values()
    results = [function(x).double() for function in functions]
    numbers: list[dict[str, Any]] = [
        {"method": method.name, **_against(exact, out), "milliseconds": vars(Spread.of([1e3 * t for t in taken]))}
        for method, out, taken in zip(parsed, results, seconds, strict=True)
    ]
    outputs = [torch.einsum("mk,mn,kn->k", u, out, vh) for out in results]
    shares = (s / s.norm()).numpy()
    rows: list[tuple[str, ...]] = [("method", "‖X - UVᵀ‖", "cosine", "s min", "s mean", "s max", "ms (median, spread)")]
    for n in numbers:
        cells = ("-" if n[key] is None else f"{n[key]:.{digits}f}" for key, digits in _COLUMNS.items())
        ms = n["milliseconds"]
        rows.append((n["method"], *cells, f"{ms['median']:.2f}, {ms['min']:.2f} to {ms['max']:.2f}"))
    matrix = {"frobenius": s.norm().item(), "s_max": s.max().item(), "s_min": s.min().item(), "nuclear": s.sum().item()}
    return Study(
        "orthogonalize",
        {
            "shape": list(shape),
            "methods": list(methods),
            "seed": seed,
            "repeats": repeats,
            "dtype": str(weights).removeprefix("torch."),
        },
        rows,
        {"matrix": matrix, "methods": numbers},
        _figure(parsed, shares, [o.numpy() for o in outputs]),
        f"X: result of a method for a {shape[0]}×{shape[1]} matrix of standard normal entries (seed {seed}), with "
        f"Frobenius norm {matrix['frobenius']:.4f}, nuclear norm {matrix['nuclear']:.4f}, singular values from "
        f"{matrix['s_min']:.4f} to {matrix['s_max']:.4f}. UVᵀ: its exact orthogonal factor. s: singular values of X. "
        f"{_seen(numbers)}",
    )


def _seen(numbers: Sequence[dict[str, Any]]) -> str:
    """Say which method is the fastest, and which comes closest to UVᵀ."""
    finite = [n for n in numbers if n["frobenius"] is not None]
    if not finite:
        return "No method gave finite numbers."
    fastest = min(finite, key=lambda n: n["milliseconds"]["median"])
    closest = min(finite, key=lambda n: n["frobenius"])
    times = closest["milliseconds"]["median"] / fastest["milliseconds"]["median"]
    values = f"{fastest['s_min']:.2f} to {fastest['s_max']:.2f}"
    return (
        f"The fastest, {fastest['method']}, leaves singular values from {values}, at a cosine of "
        f"{fastest['cosine']:.3f} with UVᵀ; the closest, {closest['method']}, takes {times:.1f} times as long."
    )


_COLUMNS = {"frobenius": 4, "cosine": 5, "s_min": 4, "s_mean": 4, "s_max": 4}
"""Columns of the table and their number of digits."""


def _against(exact: Tensor, out: Tensor) -> dict[str, float | None]:
    """Return the measures of ``out``, or None for each if it is not finite."""
    if not out.isfinite().all():
        return dict.fromkeys(_COLUMNS)
    values = torch.linalg.svdvals(out)
    return {
        "frobenius": torch.linalg.matrix_norm(out - exact).item(),
        "cosine": ((out * exact).sum() / (out.norm() * exact.norm())).item(),
        "s_min": values.min().item(),
        "s_mean": values.mean().item(),
        "s_max": values.max().item(),
    }


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
            size, order = (2.5, 2) if line is not None else (1.5, 3)  # dots alone lie on others' curves
            left.plot(shares, out, "o", color=colour, markersize=size, alpha=0.6, label=label, zorder=order)
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
