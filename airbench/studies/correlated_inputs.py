"""Muon against SGD on two strongly correlated inputs: a regression often used to explain Muon."""

import statistics
from functools import partial
from typing import Any

import matplotlib
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from airbench.analysis.figures import COLOURS
from airbench.optim.muon import Muon
from airbench.optim.orthogonalize import newton_schulz
from airbench.studies.result import STYLE, Study

STEPS, POINTS = 200, 512


def study_correlated_inputs(seed: int = 42, trials: int = 20) -> Study:
    """Run ``trials`` trainings of each, with seeds ``seed``, ``seed`` + 1, …, on the same data and initialisation.

    x₂ = 0.8 x₁ + 0.2 ε, y = x₁ - 0.5 x₂ + 0.1 ε; an MLP 2→16→1 with ReLU on all 512 points at once, mean squared
    error, 200 steps. SGD: lr 0.01, momentum 0.9. Muon: lr 0.05, five steps in float32, no momentum, on the hidden
    matrix; the same SGD on the rest.
    """
    curves = {name: [_train(seed + i, muon=name == "muon") for i in range(trials)] for name in ("sgd", "muon")}
    rows = [
        ("optimizer", *(f"loss at {step} (seed {seed})" for step in (50, STEPS)), f"median of {trials} at 50", "at 200")
    ]
    numbers: dict[str, Any] = {}
    for name, runs in curves.items():
        at = {step: [run[step - 1] for run in runs] for step in (50, STEPS)}
        medians = {step: statistics.median(values) for step, values in at.items()}
        rows.append((name, *(f"{at[s][0]:.4f}" for s in at), *(f"{medians[s]:.4f}" for s in at)))
        numbers[name] = {"losses": runs, "median": {str(step): value for step, value in medians.items()}}
    wins = sum(m[49] < s[49] for m, s in zip(curves["muon"], curves["sgd"], strict=True))
    wins_end = sum(m[-1] < s[-1] for m, s in zip(curves["muon"], curves["sgd"], strict=True))
    numbers["seeds_in_which_muon_is_lower"] = {"50": wins, str(STEPS): wins_end}
    return Study(
        "correlated-inputs",
        {"seed": seed, "trials": trials, "steps": STEPS, "points": POINTS},
        rows,
        numbers,
        _figure(curves, seed),
        f"Muon's loss is lower than SGD's with {wins} of {trials} seeds after 50 steps, with {wins_end} after {STEPS}.",
    )


def _train(seed: int, *, muon: bool) -> list[float]:
    """Return the loss before each of the 200 updates."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        x1 = torch.randn(POINTS, 1)
        x2 = 0.8 * x1 + 0.2 * torch.randn(POINTS, 1)
        y = x1 - 0.5 * x2 + 0.1 * torch.randn(POINTS, 1)
        net = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 1))
    x = torch.cat([x1, x2], dim=1)
    hidden = net[0].weight
    rest = [p for p in net.parameters() if not (muon and p is hidden)]
    optimizers: list[torch.optim.Optimizer] = [torch.optim.SGD(rest, lr=0.01, momentum=0.9)]
    if muon:
        orthogonalize = partial(newton_schulz, steps=5, dtype=torch.float32)
        optimizers.append(Muon([hidden], lr=0.05, momentum=0.0, orthogonalize=orthogonalize))
    losses = []
    for _ in range(STEPS):
        loss: Tensor = (net(x) - y).square().mean()
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        losses.append(loss.item())
    return losses


def _figure(curves: dict[str, list[list[float]]], seed: int) -> Figure:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8, 5), layout="constrained")
        axes = figure.subplots()
        for (name, runs), colour in zip(curves.items(), (COLOURS[1], COLOURS[0]), strict=True):
            for i, run in enumerate(runs):
                axes.plot(range(1, STEPS + 1), run, color=colour, linewidth=2.2 if i == 0 else 0.7,
                          alpha=1 if i == 0 else 0.3, label=f"{name}, seed {seed}" if i == 0 else None)  # fmt: skip
        axes.set_yscale("log")
        axes.set_xlabel("step")
        axes.set_ylabel("mean squared error")
        axes.set_title("Regression on two correlated inputs (thin: the other seeds)")
        axes.legend()
        return figure
