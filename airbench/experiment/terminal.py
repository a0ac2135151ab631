"""Progress display: a progress bar per trial and a row per epoch, or per trial; only rows if there is no terminal."""

import os
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from tqdm import tqdm

from airbench.experiment.jobs import TrialJob
from airbench.text import folded
from airbench.training.callback import Callback
from airbench.training.results import EpochRow, TrialResult

COLUMNS = ("trial", "epoch", "loss", "train_acc", "test_acc", "tta_acc", "seconds")
_WIDTHS = (5, 5, 6, 9, 8, 7, 7)


class Terminal:
    """Prints the output of an experiment without disturbing the progress bar."""

    def __init__(self, recipes: Sequence[str], trials: int, *, brief: bool = False, out: TextIO | None = None):
        """``brief``: a line per trial instead of a table with a row per epoch."""
        self.out = out or sys.stdout
        self.brief = brief
        self.several = len(recipes) > 1
        self.width = max(len(name) for name in recipes)
        self.trials = trials
        self.bar: Any = None
        self.header_shown = False

    def say(self, text: str = "") -> None:
        """Print a line without disturbing the bar."""
        if self.bar is not None:
            self.bar.clear()
        try:
            print(folded(text, self.out), file=self.out, flush=True)
        except OSError:  # the reader is gone (`… | head`), or the log's disk is full: training continues
            self.out = open(os.devnull, "w")  # noqa: SIM115 - for the rest of the process
        if self.bar is not None:
            self.bar.refresh()

    def row(self, recipe: str, *cells: str) -> None:
        """Print a row of the epoch table."""
        padded = (f"{cell:>{width}}" for cell, width in zip(cells, _WIDTHS, strict=True))
        self.say(f"{recipe:<{self.width}}  " + "  ".join(padded))

    def expect(self, jobs: Sequence[TrialJob]) -> None:
        """Take note of the trials that are going to be trained."""

    def watch(self, job: TrialJob) -> "TrialView":
        """Return the display of a trial that is about to start."""
        self.show_header()
        return TrialView(self, job.recipe.name, job.index)

    def show_header(self) -> None:
        """Print the header of the epoch table, once."""
        if not self.header_shown and not self.brief:
            self.row("recipe", *COLUMNS)
            self.header_shown = True

    def tick(self) -> None:
        """Use a moment in which nothing happens."""

    def end_trial(self) -> None:
        """Remove a trial's bar at its end."""
        self.close_bar()

    def close_bar(self) -> None:
        """Remove the progress bar."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None


class TrialView(Callback):
    """Displays one trial, numbered from 0 as in its run folder: its progress bar and rows."""

    def __init__(self, terminal: Terminal, recipe: str, trial: int):
        self.terminal, self.recipe, self.number = terminal, recipe, trial

    def on_step(self, step: int, total: int) -> None:
        """Advance the bar, creating it at the first step."""
        terminal = self.terminal
        if terminal.bar is None and sys.stderr.isatty():
            last = f"/{terminal.trials - 1}" if self.number < terminal.trials else ""  # not so of trials trained again
            label = f"{self.recipe} trial {self.number}{last}"
            terminal.bar = tqdm(
                desc=label, total=total, unit=" steps", leave=False, dynamic_ncols=True, smoothing=0.1
            )  # fmt: skip
        if terminal.bar is not None:
            terminal.bar.update(step - terminal.bar.n)

    def on_epoch(self, row: EpochRow) -> None:
        """Print the row of an epoch."""
        if self.terminal.brief:
            return
        cells = (f"{row.epoch:g}", f"{row.train_loss:.4f}", f"{row.train_accuracy:.4f}", f"{row.accuracy:.4f}")
        self.terminal.row(self.recipe, str(self.number), *cells, "", f"{row.seconds:.2f}")

    def on_end(self, result: TrialResult) -> None:
        """Print the last row."""
        self.finished()
        if self.terminal.brief:
            rest = f"plain {result.plain_accuracy:.2%}, {result.seconds:.1f} s"
            recipe = f"{self.recipe} " if self.terminal.several else ""
            self.terminal.say(f"  {recipe}trial {self.number}: {result.accuracy:.2%}, {rest}")
            return
        cells = ("final", "", "", f"{result.plain_accuracy:.4f}", f"{result.accuracy:.4f}", f"{result.seconds:.2f}")
        self.terminal.row(self.recipe, str(self.number), *cells)

    def on_fail(self, reason: str) -> None:
        """Print why the trial failed."""
        self.finished()
        self.terminal.say(f"{self.recipe} trial {self.number} FAILED: {reason}")

    def finished(self) -> None:
        """Remove what was shown while it was trained."""
        self.terminal.end_trial()
