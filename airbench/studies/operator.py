"""Singular values of an update as a map on images: orthogonalised as a flattened matrix, and as that map."""

from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from airbench.analysis.figures import COLOURS
from airbench.errors import AirbenchError
from airbench.experiment.worker import KeepOptimizers, Worker
from airbench.optim.flatten import FLATTEN, Layout, operator_layout
from airbench.optim.muon import Muon
from airbench.optim.orthogonalize import svd
from airbench.recipe import LoadedRecipe
from airbench.studies.result import STYLE, Study
from airbench.studies.training import train_once

WAYS = ("momentum", "flattened", "operator")
"""The momentum itself, its flattened filters orthogonalised, and its operator."""


def study_operator(loaded: LoadedRecipe, seed: int = 0, method_side: int = 8, side: int = 16) -> Study:
    """Train ``loaded`` once and orthogonalise the last momentum of each filter bank in both ways, exactly, by SVD.

    The operator is taken on periodic images of ``method_side`` and truncated to the kernel's size, as ``flatten:
    operator`` does; singular values are those of the map on periodic images of another ``side``.
    Raises AirbenchError for a recipe in which Muon trains no convolution.
    """
    found = {
        name: {way: _spectrum(update, side) for way, update in _updates(momentum, method_side).items()}
        for name, momentum in _momenta(loaded, seed).items()
    }
    measures = {name: {way: _measures(values[way]) for way in WAYS} for name, values in found.items()}
    rows: list[tuple[str, ...]] = [
        ("filters", "stable rank: momentum", *WAYS[1:], "5th percentile: momentum", *WAYS[1:])
    ]
    for name, m in measures.items():
        ranks, low = ([m[way][key] for way in WAYS] for key in ("stable_rank", "low"))
        rows.append((name, *(f"{share:.1%}" for share in ranks), *(f"{value:.3f}" for value in low)))
    medians = {key: {way: float(np.median([m[way][key] for m in measures.values()])) for way in WAYS}
               for key in ("stable_rank", "low")}  # fmt: skip
    rank, least = medians["stable_rank"], medians["low"]
    return Study(
        "operator",
        {"recipe": loaded.recipe.name, "seed": seed, "method_side": method_side, "side": side},
        rows,
        {
            "filters": {
                name: {way: {**m[way], "singular_values": _thinned(found[name][way])} for way in WAYS}
                for name, m in measures.items()
            },
            "median": medians,
        },
        _figure(found),
        f"Median over {len(found)} filter banks: the map's stable rank is {rank['momentum']:.1%} of its rank for the "
        f"momentum, {rank['flattened']:.1%} with flattened filters orthogonalised, {rank['operator']:.1%} with the "
        f"operator; one singular value in twenty is below {least['momentum']:.2f}, {least['flattened']:.2f} and "
        f"{least['operator']:.2f} of their root mean square.",
    )


def _momenta(loaded: LoadedRecipe, seed: int) -> dict[str, Tensor]:
    """Train once; return the momentum of each filter bank that Muon trained, by name, ``(out, in, h, w)``."""
    setup = Worker().setup(loaded.recipe, loaded.place_of)
    kept = KeepOptimizers()
    train_once(setup, loaded, seed, kept)
    assert kept.optimizers is not None
    momenta = {
        name: t.optimizer.state[p]["momentum_buffer"].float().cpu()
        for t in kept.optimizers.trained
        if isinstance(t.optimizer, Muon)
        for name, p in zip(t.stepped.param_names, t.stepped.params, strict=True)
        if p.ndim == 4 and p in t.optimizer.state
    }
    if not momenta:
        raise AirbenchError(f"{loaded.path}: Muon trains no convolution, so there is no operator to show")
    return momenta


def _updates(momentum: Tensor, side: int) -> dict[str, Tensor]:
    def orthogonalized(layout: Layout) -> Tensor:
        return layout.update(svd(layout.matrices(momentum)), momentum)

    return {
        "momentum": momentum,
        "flattened": orthogonalized(FLATTEN["out"]),
        "operator": orthogonalized(operator_layout(side)),
    }


def _spectrum(kernels: Tensor, side: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the singular values of the convolution on periodic images, descending, over their root mean square."""
    frequencies = torch.fft.fft2(kernels, (side, side)).permute(2, 3, 0, 1)
    values = torch.linalg.svdvals(frequencies).flatten().double().sort(descending=True).values
    return (values / values.square().mean().sqrt().clamp(min=1e-30)).numpy()


def _measures(values: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, float]:
    """Return the stable rank, Σ s² / max s², as a share of the rank, and the 5th percentile of the values."""
    return {"stable_rank": float((values**2).mean() / values.max() ** 2), "low": float(np.quantile(values, 0.05))}


def _thinned(values: np.ndarray[Any, np.dtype[np.float64]], count: int = 65) -> list[float]:
    """Return ``count`` evenly spaced quantiles, to five digits."""
    return [float(f"{value:.5g}") for value in np.quantile(values, np.linspace(1, 0, count))]


def _figure(found: dict[str, dict[str, np.ndarray[Any, np.dtype[np.float64]]]]) -> Figure:
    """Draw a panel per filter bank with the three spectra."""
    columns = min(3, len(found))
    rows = -(-len(found) // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(12, 3.2 * rows + 0.6), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for axes in grid.flat[len(found) :]:
            axes.set_visible(False)
        for i, ((name, spectra), axes) in enumerate(zip(found.items(), grid.flat, strict=False)):
            for way, colour in zip(WAYS, (COLOURS[7], COLOURS[1], COLOURS[0]), strict=True):
                y = np.maximum(spectra[way], 1e-3)
                axes.plot(np.linspace(0, 1, len(y)), y, color=colour, linewidth=1.5, label=way)
            axes.axhline(1, color="#555555", linewidth=0.8, linestyle=":")
            axes.set_yscale("log")
            axes.set_title(name.removesuffix(".weight"), fontsize=10)
            axes.set_xlabel("singular direction / rank", fontsize=9)
            if i == 0:
                axes.legend(fontsize=9, loc="lower left")
        for axes in grid[:, 0]:
            axes.set_ylabel("singular value / rms", fontsize=9)
        figure.suptitle("Singular values of the update as a map on images: of the momentum, of its flattened filters "
                        "orthogonalised, of its operator orthogonalised", fontsize=11)  # fmt: skip
        return figure
