"""How much arithmetic a trial takes, and how much of it the machine could do at best."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from airbench.benchmark.timing import seconds_of
from airbench.data.dataset import Dataset
from airbench.training.evaluate import augmented, correct, plain, views
from airbench.net.cifarnet import build_net
from airbench.optim.routing import Optimizers, route
from airbench.recipe import Recipe
from airbench.training.step import train_step


def count_flop(recipe: Recipe, steps: int, test_images: int, dataset: Dataset) -> dict[str, float]:
    """Floating-point operations (a multiply-add is 2) of a training step, of the final evaluation, and of a trial.

    Counted by PyTorch's FlopCounterMode (convolutions and matrix products, backward and Newton-Schulz included)
    on the meta device, where nothing is computed.
    """
    meta = torch.device("meta")
    side = dataset.train.images.shape[1]
    net = build_net(recipe.net, len(dataset.classes), side, meta, torch.float32)
    batch = recipe.train.batch_size
    optimizers = Optimizers(
        route(net, recipe.optimizers), batch_size=batch, total_steps=max(steps, 2), steps_per_epoch=max(steps, 2)
    )
    images = torch.empty(batch, 3, side, side, device=meta)
    labels = torch.empty(batch, dtype=torch.int64, device=meta)
    optimizers.before_step(0)
    with FlopCounterMode(display=False) as counter:
        train_step(net, optimizers, images, labels, recipe.train.label_smoothing)
    step = counter.get_total_flops()
    with FlopCounterMode(display=False) as counter:
        correct(net, images[:1], labels[:1], plain(recipe.evaluate))
    knobs = recipe.evaluate
    forwards = test_images + augmented(knobs, test_images) * (len(views(knobs)) - 1)
    evaluation = counter.get_total_flops() * forwards
    return {"step": step, "evaluation": evaluation, "trial": step * steps + evaluation}


def measure_peak(device: torch.device) -> dict[str, Any]:
    """This machine's own rates: matrix products in TFLOP/s for each precision, copies in GB/s. A few seconds.

    The best of many repeats: a peak is what the machine can do when nothing disturbs it.
    """
    rates: dict[str, Any] = {}
    on_cpu = device.type == "cpu"
    for name, dtype in (("bf16", torch.bfloat16), ("fp16", torch.float16), ("fp32", torch.float32)):
        if on_cpu and name == "fp16":  # refused on a cpu: without instructions for it one product takes a minute
            rates["fp16_tflops"] = None
            continue
        size = 2048 if on_cpu else 8192
        try:
            a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
            seconds = _best_seconds(partial(torch.mm, a, b), device)
            rates[f"{name}_tflops"] = round(2 * size**3 / seconds / 1e12, 4)
        except (RuntimeError, TypeError):
            rates[f"{name}_tflops"] = None
    size = 2**26 if on_cpu else 2**28
    source, target = torch.ones(size, device=device), torch.ones(size, device=device)
    seconds = _best_seconds(lambda: target.copy_(source), device)
    rates["copy_gbs"] = round(2 * 4 * size / seconds / 1e9, 2)
    return rates


def _best_seconds(work: Callable[[], Any], device: torch.device, budget: float = 0.7) -> float:
    """The least of the seconds that ``work`` takes, repeated until ``budget`` seconds have passed."""
    best, spent = math.inf, 0.0
    while spent < budget:
        took = seconds_of(work, device)
        best, spent = min(best, took), spent + took
    return best
