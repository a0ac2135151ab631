"""Weight decay in Adam depends on the scale of the gradient, in AdamW it does not: a problem with a closed form."""

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
    """Measure how fast weights of 1 shrink under random gradients ±s, for several s.

    The sign is a fair coin at each step, and each weight has a partner with the opposite signs, so that the mean of a
    pair changes by decay alone. AdamW multiplies it by 1 - lr · λ each step. In Adam the gradient is ±s + λ w and
    the root of its average square about s, so to first order in λ w / s the pair shrinks by lr · λ / s · (1 - q), where
    q = (1 - β₂) / (1 - β₂^t) is the weight of the current gradient in that average. The larger s, the weaker the decay.
    β₁ = 0.
    """
    numbers: list[dict[str, Any]] = []
    shares = [(1 - BETA2) / (1 - BETA2**t) for t in range(1, STEPS + 1)]
    for scale in SCALES:
        rates = {name: _rate(name, scale, seed) for name in ("adam", "adamw")}
        closed = {"adam": LR * DECAY / scale * (1 - sum(shares) / STEPS), "adamw": -math.log1p(-LR * DECAY)}
        numbers.append({"gradient": scale, "measured": rates, "closed_form": closed})
    rows: list[tuple[str, ...]] = [("gradient ±s", "Adam: rate per step", "closed form", "AdamW", "closed form")]
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
        f"Between gradients of {SCALES[0]:g} and {SCALES[-1]:g}, the rate of decay differs by a factor of "
        f"{ratios['adam']:,.0f} in Adam, and by a factor of {ratios['adamw']:.3f} in AdamW.",
    )


def _rate(name: str, scale: float, seed: int) -> float:
    """Measure the exponential rate per step at which the mean of the pairs shrinks."""
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
        axes.set_xlabel("scale s of the gradient")
        axes.set_ylabel("fraction of the weight lost per step")
        axes.set_title(f"Weight decay {DECAY:g} at learning rate {LR:g}")
        axes.legend()
        return figure
