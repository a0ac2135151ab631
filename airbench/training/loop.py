"""The training loop: one timed trial, from initialisation to test accuracy."""

import math
import time
from itertools import count

from torch import Tensor

from airbench.errors import TrialError
from airbench.signals import raise_if_interrupted
from airbench.training.callback import Callback
from airbench.training.clock import Clock
from airbench.training.evaluate import count_correct
from airbench.training.randomness import seeded
from airbench.training.results import EpochRow, TrialResult, TrialSeeds
from airbench.training.setup import TrialSetup, memory_errors
from airbench.training.step import StepResult
from airbench.training.warmup import warm_up


def run_trial(setup: TrialSetup, seeds: TrialSeeds, callback: Callback | None = None) -> TrialResult:
    """Run one trial: train, then evaluate.

    Raises TrialError if the loss is not finite or no better than guessing, or if memory runs out; ``callback`` is told.
    """
    callback = callback or Callback()
    try:
        with memory_errors():
            setup.machine.use()
            if setup.execution.cuda_graph and setup.graph is None:
                warm_up(setup)
            with seeded(setup.machine.device, seeds):
                result = fit(setup, seeds, callback)
            callback.on_end(result)
            return result
    except TrialError as error:
        callback.on_fail(str(error))
        raise


def fit(setup: TrialSetup, seeds: TrialSeeds, callback: Callback) -> TrialResult:
    """Reset the net, train it epoch by epoch, and evaluate it. Only ``with clock:`` blocks are timed."""
    net, total, clock = setup.net, setup.last_step(seeds), Clock(setup.machine.device)
    started, step, rows = time.perf_counter(), 0, list[EpochRow]()

    net.reset(seeds.generator("init"))
    take_step = setup.new_step()
    with clock:
        setup.prepare_net()
        loader = setup.new_loader(seeds)
        setup.selection.start(seeds)
    averages = setup.new_averages()  # after preparing the net, which they copy
    callback.on_start(setup, take_step.optimizers)

    for epoch in count(1):
        raise_if_interrupted()
        with clock:
            net.train()
            for batch in loader.epoch(setup.selection.choose):
                take_step.before(step)
                result = take_step(batch)
                step += 1
                averages.after_step(step)
                callback.on_step(step, total)
                if step == total or _diverged(result.losses):
                    break
            if step == total:
                averages.finish()
        rows.append(_after_epoch(setup, step, result, clock))
        callback.on_epoch(rows[-1])
        _check_progress(setup, rows[-1], epoch)
        if step == total:
            break

    with clock:
        logits = setup.predict(setup.recipe.evaluate)
        correct = count_correct(logits, setup.test.labels)
    if sum((~p.isfinite()).sum() for p in net.parameters()):
        raise TrialError("the weights are not finite after the last step: try a lower lr")
    return TrialResult(
        seeds=seeds,
        accuracy=correct.item() / len(setup.test),
        plain_accuracy=rows[-1].accuracy,
        seconds=clock.seconds(),
        wall_seconds=time.perf_counter() - started,
        steps=step,
        epochs=rows,
        logits=logits.cpu(),
    )


def _diverged(losses: Tensor) -> bool:
    """Return whether a loss is not finite; checked only on a CPU. On a GPU, checking each step would stall it."""
    return losses.is_cpu and not math.isfinite(losses.sum())


def _after_epoch(setup: TrialSetup, step: int, result: StepResult, clock: Clock) -> EpochRow:
    """Evaluate without test-time augmentation, off the clock."""
    correct = setup.num_correct(setup.recipe.evaluate.without_tta())
    return EpochRow(
        epoch=round(step / setup.steps_per_epoch, 4),
        train_loss=result.losses.sum().item() / len(result.batch),
        train_accuracy=(result.logits.argmax(1) == result.batch.labels).float().mean().item(),
        accuracy=correct.item() / len(setup.test),
        seconds=clock.seconds(),
    )


def guesses_at_most(classes: int) -> float:
    """Return the accuracy up to which a net may be guessing: half as much again as by chance, or 5 points more."""
    return 1 / classes + min(0.5 / classes, 0.05)


def _check_progress(setup: TrialSetup, row: EpochRow, epochs: int) -> None:
    """Raise TrialError if further training is pointless."""
    classes = setup.shape.classes
    guessing = math.log(classes)  # label smoothing does not change the loss of a uniform guess
    if not math.isfinite(row.train_loss):
        raise TrialError(f"the loss is {row.train_loss} after {row.epoch:g} epochs: try a lower lr")
    least, most = 0.99 * guessing, guesses_at_most(classes)
    if epochs >= setup.recipe.train.stall_epochs and row.train_loss > least and row.accuracy < most:
        raise TrialError(
            f"not learning: at epoch {row.epoch:g} loss {row.train_loss:.3f}, accuracy {row.accuracy:.1%}; "
            f"above {least:.3f} and below {most:.1%} a net may be guessing ({guessing:.3f}, {1 / classes:.1%}): "
            "change the lr, or give it longer (train.stall_epochs)"
        )
