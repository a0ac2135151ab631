"""Adam's weight decay depends on the size of the gradient; AdamW's does not. On a problem with a closed form."""

import math
from typing import Any

import matplotlib
import torch
from matplotlib.figure import Figure
from torch import nn

from airbench.analysis.figures import COLOURS
from airbench.studies.result import STYLE, Study

SCALES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
LR, DECAY, BETA2, STEPS, PAIRS = 1e-3, 1e-3, 0.999, 1000, 64


def study_decay(seed: int = 0) -> Study:
    """Weights of 1 under gradients of ±s: how fast do they shrink, for every s?

    The sign is a fair coin a step, and each weight has a partner with the opposite signs, so that the mean of a
    pair feels decay alone. AdamW multiplies it by 1 - lr · λ each step. Adam's gradient is ±s + λ w and its
    root of the average square about s, so to first order in λ w / s its pair shrinks by lr · λ / s · (1 - q), where
    q = (1 - β₂) / (1 - β₂^t) is the current gradient's share of the average: what of it is a function of itself
    cancels. Where s is large, decay is lost. β₁ = 0.
    """
    numbers: list[dict[str, Any]] = []
    shares = [(1 - BETA2) / (1 - BETA2**t) for t in range(1, STEPS + 1)]
    for scale in SCALES:
        rates = {name: _rate(name, scale, seed) for name in ("adam", "adamw")}
        closed = {"adam": LR * DECAY / scale * (1 - sum(shares) / STEPS), "adamw": -math.log1p(-LR * DECAY)}
        numbers.append({"gradient": scale, "measured": rates, "closed_form": closed})
    rows: list[tuple[str, ...]] = [("gradient ±s", "Adam: rate a step", "closed form", "AdamW", "closed form")]
    for n in numbers:
        both = [n[kind][name] for name in ("adam", "adamw") for kind in ("measured", "closed_form")]
        rows.append((f"{n['gradient']:g}", *(f"{rate:.4e}" for rate in both)))
    spread = {name: [n["measured"][name] for n in numbers] for name in ("adam", "adamw")}
    ratios = {name: max(values) / min(values) for name, values in spread.items()}
    return Study(
        "decay",
        {"seed": seed, "lr": LR, "weight_decay": DECAY, "steps": STEPS, "betas": [0.0, BETA2], "pairs": PAIRS},
        rows,
        {"scales": numbers, "largest_over_smallest_rate": ratios},
        _figure(numbers),
        f"Over gradients of {SCALES[0]:g} to {SCALES[-1]:g}, Adam's weights shrink {ratios['adam']:,.0f} times as fast "
        f"at one end as at the other; AdamW's, {ratios['adamw']:.3f} times.",
    )


def _rate(name: str, scale: float, seed: int) -> float:
    """The measured exponential rate, a step, at which the mean of the pairs shrinks."""
    generator = torch.Generator().manual_seed(seed)
    w = nn.Parameter(torch.ones(2, PAIRS, dtype=torch.float64))
    kind = torch.optim.Adam if name == "adam" else torch.optim.AdamW
    optimizer = kind([w], lr=LR, betas=(0.0, BETA2), eps=1e-12, weight_decay=DECAY)
    for _ in range(STEPS):
        sign = torch.randint(0, 2, (PAIRS,), generator=generator, dtype=torch.float64) * 2 - 1
        w.grad = scale * torch.stack([sign, -sign])
        optimizer.step()
    return -math.log(w.detach().mean().item()) / STEPS


def _figure(numbers: list[dict[str, Any]]) -> Figure:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8, 5), layout="constrained")
        axes = figure.subplots()
        x = [n["gradient"] for n in numbers]
        for name, label, colour in (
            ("adam", "Adam, coupled", COLOURS[1]),
            ("adamw", "AdamW, decoupled", COLOURS[0]),
        ):
            axes.plot(x, [n["closed_form"][name] for n in numbers], color=colour, linewidth=1, label="closed form")
            axes.plot(x, [n["measured"][name] for n in numbers], "o", color=colour, label=label)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("size s of the gradient")
        axes.set_ylabel("share of a weight lost a step")
        axes.set_title(f"The same weight decay of {DECAY:g} at lr {LR:g}")
        axes.legend()
        return figure
