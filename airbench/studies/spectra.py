"""Singular values of momentum in a short training, before and after orthogonalisation: is it nearly low rank?"""

import math
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from airbench.analysis.figures import COLOURS, plain_log_labels
from airbench.errors import AirbenchError
from airbench.experiment.worker import Worker
from airbench.optim.optimizers import Optimizers
from airbench.optim.spectra import momentum_spectra
from airbench.recipe import LoadedRecipe
from airbench.recipe.optimizers import Muon
from airbench.studies.result import STYLE, Study
from airbench.studies.training import train_once
from airbench.training.callback import Callback
from airbench.training.setup import TrialSetup


class _Collector(Callback):
    """Collect the singular values of every matrix that Muon trains, at several steps."""

    def __init__(self, total: int, moments: int):
        self.wanted = {max(1, round(total * (i + 1) / moments)) for i in range(moments)}
        self.found: dict[int, dict[str, dict[str, list[float]]]] = {}

    def on_start(self, setup: TrialSetup, optimizers: Optimizers) -> None:
        self.optimizers = optimizers

    def on_step(self, step: int, total: int) -> None:
        if step in self.wanted:
            self.found[step] = momentum_spectra(self.optimizers)


def study_spectra(loaded: LoadedRecipe, seed: int = 0, moments: int = 8) -> Study:
    """Train ``loaded`` once and decompose the momentum of each matrix at ``moments`` evenly spaced steps.

    Raises AirbenchError for a recipe without Muon.
    """
    recipe = loaded.recipe
    setup = Worker().setup(recipe, loaded.place_of)
    if not any(isinstance(g.config, Muon) for g in setup.groups):
        raise AirbenchError(f"{loaded.path}: no group is trained by muon or normuon, so there are no spectra to show")
    collector = _Collector(setup.total_steps, moments)
    train_once(setup, loaded, seed, collector)
    found = collector.found
    last = found[max(found)]
    numbers: dict[str, Any] = {
        str(step): {name: {**_finite(_measures(values)), **values} for name, values in matrices.items()}
        for step, matrices in found.items()
    }
    rows = [("matrix (last step)", "rank", "condition before", "after", "stable rank before", "after")]
    for name, values in last.items():
        m = _measures(values)
        rows.append(
            (
                name, str(len(values["before"])), f"{m['condition_before']:,.0f}", f"{m['condition_after']:.1f}",
                f"{m['stable_rank_before']:.1f}", f"{m['stable_rank_after']:.1f}",
            )
        )  # fmt: skip
    measures = [_measures(values) for matrices in found.values() for values in matrices.values()]
    share = [_share_of_rank(values) for matrices in found.values() for values in matrices.values()]
    return Study(
        "spectra",
        {"recipe": recipe.name, "seed": seed, "steps": sorted(found), "total_steps": setup.total_steps},
        rows,
        numbers,
        _figure(found),
        f"Over {len(measures)} updates, half of the momentum's energy lies in {np.median(share):.0%} of its singular "
        f"directions (median); median condition number {np.median([m['condition_before'] for m in measures]):,.0f} "
        f"before, {np.median([m['condition_after'] for m in measures]):.1f} after.",
    )


def _measures(values: dict[str, list[float]]) -> dict[str, float]:
    """Compute condition number (largest over smallest singular value) and stable rank (Σ s² / max s²)."""
    found = {}
    for key in ("before", "after"):
        s = np.asarray(values[key])
        found[f"condition_{key}"] = float(s.max() / s.min()) if s.min() > 0 else math.inf
        found[f"stable_rank_{key}"] = float((s**2).sum() / s.max() ** 2)
    return found


def _finite(values: dict[str, float]) -> dict[str, float | None]:
    """Replace infinity, which JSON does not have, by None."""
    return {key: value if math.isfinite(value) else None for key, value in values.items()}


def _share_of_rank(values: dict[str, list[float]]) -> float:
    """Return the fraction of singular directions, largest first, that hold half of Σ s² of the momentum."""
    energy = np.sort(np.asarray(values["before"]))[::-1] ** 2
    return float((np.searchsorted(np.cumsum(energy), 0.5 * energy.sum()) + 1) / len(energy))


def _figure(found: dict[int, dict[str, dict[str, list[float]]]]) -> Figure:
    """Draw a panel per matrix with its spectra, before and after; then condition numbers over the steps."""
    names = list(found[max(found)])
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(12, 3 * rows + 3.4), layout="constrained")
        grid = figure.add_gridspec(rows + 1, columns)
        for i, name in enumerate(names):
            axes = figure.add_subplot(grid[i // columns, i % columns])
            for order, step in enumerate(sorted(found)):
                values = found[step].get(name)
                if values is None:
                    continue
                shade = 0.25 + 0.75 * order / max(1, len(found) - 1)
                for key, colour in (("before", COLOURS[1]), ("after", COLOURS[0])):
                    y = np.maximum(np.sort(np.asarray(values[key]))[::-1], 1e-5)
                    label = key if order == len(found) - 1 and i == 0 else None
                    axes.plot(np.linspace(0, 1, len(y)), y, color=colour, alpha=shade, linewidth=1.2, label=label)
            axes.set_yscale("log")
            axes.set_title(name.removesuffix(".weight"), fontsize=10)
            axes.set_xlabel("singular direction / rank", fontsize=9)
            if i == 0:
                axes.set_ylabel("singular value")
                axes.legend(fontsize=9, loc="lower left")
        axes = figure.add_subplot(grid[rows, :])
        for i, name in enumerate(names):
            steps = [step for step in sorted(found) if name in found[step]]
            for key, style in (("before", "o-"), ("after", "s--")):
                y = [_measures(found[step][name])[f"condition_{key}"] for step in steps]
                axes.plot(steps, y, style, color=COLOURS[i % len(COLOURS)], markersize=4,
                          label=name.removesuffix(".weight") if key == "before" else None)  # fmt: skip
        axes.set_yscale("log")
        plain_log_labels(axes.yaxis, axes.yaxis.get_data_interval())
        axes.set_xlabel("step")
        axes.set_ylabel("condition number")
        axes.set_title("solid: momentum; dashed: orthogonalised", fontsize=10)
        axes.legend(fontsize=8, ncols=2)
        figure.suptitle("Singular values of the momentum before (divided by the largest) and after orthogonalisation; "
                        "later steps darker")  # fmt: skip
        return figure
