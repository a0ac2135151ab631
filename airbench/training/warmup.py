"""Warm-up: everything that a trial does for the first time is done once, off the clock."""

from dataclasses import replace

import torch

from airbench.data.loader import Loader
from airbench.recipe.schedules import epochs_to_steps
from airbench.training.evaluate import num_correct
from airbench.training.results import TrialSeeds
from airbench.training.setup import TrialSetup, memory_errors
from airbench.training.step import GraphStep

STEPS = 2
"""On a CPU one is enough: nothing is chosen or compiled in the second."""


def warm_up(setup: TrialSetup) -> None:
    """Prepare the net, load, take a few steps and evaluate, on random labels: nothing shall be new on the clock.

    Leaves no trace: a trial resets all that it uses. Raises TrialError where memory runs out.
    """
    with memory_errors():
        seeds = TrialSeeds(0, 0, 0)
        setup.machine.use_threads()
        setup.net.reset(seeds.generator("init"))
        setup.net.train()
        setup.graph = None
        setup.prepare_net()
        _take_steps(setup, setup.new_loader(seeds), seeds.generator("order"))
        _evaluate(setup)


def _take_steps(setup: TrialSetup, loader: Loader, generator: torch.Generator) -> None:
    recipe, device = setup.recipe, setup.machine.device
    optimizers, take_step = setup.new_step()
    lookahead = setup.new_lookahead()
    batch = next(loader.epoch())
    labels = torch.randint(setup.shape.classes, (len(batch),), generator=generator).to(device)
    if batch.targets.ndim == 1:
        batch = replace(batch, targets=labels)
    steps = STEPS if device.type != "cpu" or recipe.engine.compile != "none" else 1
    for step in (*range(steps), *_freezing_steps(setup)):
        optimizers.before_step(step)
        take_step(batch)
    if recipe.engine.cuda_graph:
        graph = GraphStep(setup.forward, optimizers, batch, recipe.train.label_smoothing)
        graph.prepare()
        setup.graph = graph
    if lookahead:
        lookahead.finish()


def _freezing_steps(setup: TrialSetup) -> list[int]:
    """Return the steps at which a group is frozen, if the net is compiled: it is then compiled again."""
    if setup.recipe.engine.compile == "none":
        return []
    lengths = {g.config.train_epochs for g in setup.groups if g.config.train_epochs is not None}
    steps = sorted(epochs_to_steps(epochs, setup.steps_per_epoch) for epochs in lengths)
    return [step for step in steps if step < setup.total_steps]


def _evaluate(setup: TrialSetup) -> None:
    test, evaluate, dtype = setup.test, setup.recipe.evaluate, setup.machine.dtype
    if setup.machine.device.type == "cpu":
        # One view is like another, so two images are enough to have seen them all.
        num_correct(setup.net, test.normalized(dtype, 2), test.labels[:2], evaluate)
        count = min(len(test), evaluate.batch_size + len(test) % evaluate.batch_size)
        evaluate = evaluate.without_tta()
    else:
        count = len(test)  # cuDNN looks for the best algorithm for every new shape
    num_correct(setup.net, test.normalized(dtype, count), test.labels[:count], evaluate).item()
