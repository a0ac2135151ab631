"""Warm-up: do once, off the clock, everything that is slow the first time."""

import math
from collections.abc import Iterator
from dataclasses import replace

import torch

from airbench.data.batch import Batch, first_rows
from airbench.data.epoch import Choose
from airbench.recipe.schedules import epochs_to_steps
from airbench.training.engine import no_silent_fallback
from airbench.training.evaluate import num_correct
from airbench.training.randomness import seeded
from airbench.training.results import TrialSeeds
from airbench.training.selection.proxy import train_proxy
from airbench.training.setup import TrialSetup, memory_errors

SEEDS = TrialSeeds(0, 0, 0)


def warm_up(setup: TrialSetup) -> list[str]:
    """Run a trial, or part of one, on random labels, so that nothing runs for the first time on the clock.

    On a GPU this is a whole trial, as in airbench, to warm up memory, kernels and captures (two where steps of several
    kinds are not captured); on a CPU a step or two are enough. (A proxy is warmed up on the true labels.) Every trial
    resets what this leaves behind. If a way of executing steps fails and the recipe leaves the choice to the machine,
    falls back to another; returns a line per fallback. Raises TrialError if memory runs out.
    """
    notes: list[str] = []
    while True:
        try:
            with memory_errors(), no_silent_fallback(setup.execution), seeded(setup.machine.device, SEEDS):
                _warm_up(setup)
            return notes
        except Exception as error:
            other = setup.execution.without(error, setup.recipe)
            if other is None:
                raise
            reason = " ".join(str(error).split())[:200]
            notes.append(f"steps are {other}: {setup.execution} failed ({type(error).__name__}: {reason})")
            setup.execute(other)


def rehearse(setup: TrialSetup) -> None:
    """Train a whole trial once more, off the clock: a capture since has given back what memory the warm-up took.

    Raises TrialError if memory runs out.
    """
    with memory_errors(), seeded(setup.machine.device, SEEDS):
        setup.machine.use()
        _whole_trial(setup)


def _warm_up(setup: TrialSetup) -> None:
    setup.machine.use()
    setup.net.reset(SEEDS.generator("init"))
    setup.net.train()
    setup.prepare_net()
    if setup.execution.cuda_graph:
        setup.capture(next(_batches(setup, None)))
    if setup.machine.device.type == "cuda":
        _whole_trial(setup)
        if len(setup.plan.first_steps()) > 1 and not setup.execution.cuda_graph:
            _whole_trial(setup)  # it finds memory divided by the last kind of step, and takes what more it needs
    else:
        if setup.proxy is not None:  # a batch with an update, and one without
            train_proxy(setup.proxy, SEEDS, steps=2, rows=setup.plan.at(0).rows, backward_every=2)
        _few_steps(setup)


def _batches(setup: TrialSetup, choose: Choose | None) -> Iterator[Batch]:
    """Yield batches with random labels, epoch after epoch, of the images that ``choose`` chooses (None: all)."""
    loader, generator = setup.new_loader(SEEDS), SEEDS.generator("order")
    labels = torch.randint(setup.shape.classes, (len(setup.train),), generator=generator).to(setup.machine.device)
    while True:
        for batch in loader.epoch(choose):
            yield replace(batch, targets=labels[batch.index]) if batch.targets.ndim == 1 else batch


def _whole_trial(setup: TrialSetup) -> None:
    """Train from beginning to end, and evaluate after the first epoch, as after each, and at the end."""
    setup.net.reset(SEEDS.generator("init"))
    setup.prepare_net()
    take_step, batches = setup.new_step(), _batches(setup, setup.selection.choose)
    setup.selection.start(SEEDS)
    averages = setup.new_averages()
    for step in range(setup.total_steps):
        setup.net.train()
        take_step.before(step)
        take_step(next(batches))
        averages.after_step(step + 1)
        if (step + 1) % math.ceil(setup.steps_per_epoch) == 0:
            setup.num_correct(setup.recipe.evaluate.without_tta())
    averages.finish()
    setup.num_correct(setup.recipe.evaluate).item()


def _few_steps(setup: TrialSetup) -> None:
    take_step, averages = setup.new_step(), setup.new_averages()
    compiled = setup.execution.compile != "none"
    batch = next(_batches(setup, None))
    # A compiled net is compiled again for each kind of step and, for evaluation as well, when a group is frozen.
    first = [*setup.plan.first_steps(), *([1] if compiled and setup.total_steps > 1 else [])]
    for steps in (first, *([step] for step in (_freezing_steps(setup) if compiled else ()))):
        setup.net.train()
        for step in steps:
            take_step.before(step)
            take_step(first_rows(batch, setup.plan.at(step).rows))
        _evaluate(setup)
    averages.finish()


def _evaluate(setup: TrialSetup) -> None:
    test, evaluate, dtype = setup.test, setup.recipe.evaluate, setup.machine.dtype
    # Views differ little in what they execute: two images are enough to warm up all of them.
    num_correct(setup.net, test.normalized(dtype, 2), test.labels[:2], evaluate, setup.forward)
    count = min(len(test), evaluate.batch_size + len(test) % evaluate.batch_size)
    num_correct(setup.net, test.normalized(dtype, count), test.labels[:count], evaluate.without_tta(), setup.forward)


def _freezing_steps(setup: TrialSetup) -> list[int]:
    """Return the steps at which a group is frozen, which makes a compiled net recompile."""
    lengths = {g.config.train_epochs for g in setup.groups if g.config.train_epochs is not None}
    steps = sorted(epochs_to_steps(epochs, setup.steps_per_epoch) for epochs in lengths)
    return [step for step in steps if step < setup.total_steps]
