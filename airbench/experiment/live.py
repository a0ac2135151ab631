"""Progress display of trials that are trained at the same time: a line for each, and a bar for all of them."""

import shutil
import sys
import time
from collections.abc import Sequence
from typing import TextIO

from tqdm import tqdm

from airbench.experiment.jobs import TrialJob
from airbench.experiment.terminal import Terminal, TrialView
from airbench.training.results import EpochRow

EVERY = 0.5
"""Seconds between redrawings while nothing happens."""


class LiveTerminal(Terminal):
    """Shows a line for each worker and an overall bar; without a terminal, the rows of all trials as they come."""

    def __init__(
        self,
        recipes: Sequence[str],
        trials: int,
        *,
        brief: bool = False,
        out: TextIO | None = None,
        screen: TextIO | None = None,
    ):
        """``screen`` is where lines are redrawn, if it is a terminal; by default standard error."""
        super().__init__(recipes, trials, brief=brief, out=out)
        self.screen = screen or sys.stderr
        self.board: Board | None = None

    def expect(self, jobs: Sequence[TrialJob]) -> None:
        """See :meth:`Terminal.expect`."""
        if self.screen.isatty():
            self.bar = self.board = Board(self.screen, len(jobs), sum(job.recipe.train.epochs for job in jobs))

    def watch(self, job: TrialJob) -> TrialView:
        """Return the display of a trial that is about to start."""
        self.show_header()
        if self.board is None:
            return TrialView(self, job.recipe.name, job.index)
        return LiveTrial(self, self.board, job)

    def tick(self) -> None:
        """Redraw, if that was not done lately."""
        if self.board is not None:
            self.board.refresh_sometimes()

    def end_trial(self) -> None:
        """Do nothing: the bar is that of all trials."""


class LiveTrial(TrialView):
    """A trial's line on the board."""

    def __init__(self, terminal: LiveTerminal, board: "Board", job: TrialJob):
        super().__init__(terminal, job.recipe.name, job.index)
        self.board, self.key, self.epochs = board, (job.run, job.index), job.recipe.train.epochs
        self._show("starting", 0.0)

    def on_step(self, step: int, total: int) -> None:
        """Do nothing: the board goes by epochs."""

    def on_epoch(self, row: EpochRow) -> None:
        """Show how far it is."""
        state = f"epoch {row.epoch:g} of {self.epochs:g}, loss {row.train_loss:.3f}, accuracy {row.accuracy:.2%}"
        self._show(state, row.epoch)

    def finished(self) -> None:
        """Free the line."""
        self.board.finish(self.key, self.epochs)

    def _show(self, state: str, epoch: float) -> None:
        self.board.show(self.key, f"{self.recipe:<{self.terminal.width}}  trial {self.number:>3}  {state}", epoch)


class Board:
    """Lines at the bottom of a terminal that are drawn anew again and again, the last of them a bar."""

    def __init__(self, screen: TextIO, trials: int, epochs: float):
        self.screen, self.trials, self.epochs = screen, trials, epochs
        self.lines: list[tuple[object, str, float]] = []
        """Of each worker: what it trains (None: nothing), what is shown, epochs done."""
        self.ended, self.ended_epochs = 0, 0.0
        self.started = time.monotonic()
        self.drawn = 0
        """Lines on the screen."""
        self._last = 0.0

    def show(self, key: object, text: str, epochs: float) -> None:
        """Show a trial on its line, or on a free one, or on a new one."""
        keys = [line[0] for line in self.lines]
        place = keys.index(key) if key in keys else keys.index(None) if None in keys else len(keys)
        self.lines[place : place + 1] = [(key, text, epochs)]
        self.refresh()

    def finish(self, key: object, epochs: float) -> None:
        """Count a trial as ended, and free its line."""
        self.lines = [(None, "waiting", 0.0) if line[0] == key else line for line in self.lines]
        self.ended += 1
        self.ended_epochs += epochs
        self.refresh()

    def clear(self) -> None:
        """Remove the lines from the screen."""
        if self.drawn:
            self._write(f"\r\x1b[{self.drawn - 1}A\x1b[J" if self.drawn > 1 else "\r\x1b[J")
            self.drawn = 0

    def refresh(self) -> None:
        """Draw the lines anew."""
        self.clear()
        size = shutil.get_terminal_size()
        most = max(1, size.lines - 3)
        shown = [text for _, text, _ in self.lines[:most]]
        if len(self.lines) > most:
            shown[-1] = f"… and {len(self.lines) - most + 1} more workers"
        lines = [*(line[: size.columns - 1] for line in shown), self.summary(size.columns - 1)]
        self._write("\n".join(lines))
        self.drawn, self._last = len(lines), time.monotonic()

    def refresh_sometimes(self) -> None:
        """Draw the lines anew if they are older than EVERY."""
        if time.monotonic() - self._last > EVERY:
            self.refresh()

    def summary(self, columns: int) -> str:
        """Return the bar of all trials, with the time left as the epochs so far predict it."""
        done = min(self.epochs, self.ended_epochs + sum(epochs for _, _, epochs in self.lines))
        bar = tqdm.format_meter(
            round(done, 1), round(self.epochs, 1), time.monotonic() - self.started, ncols=columns, unit=" epochs",
            prefix=f"{self.ended} of {self.trials} trials",
        )  # fmt: skip
        return str(bar)[:columns]

    def close(self) -> None:
        """Remove the lines for good."""
        self.clear()

    def _write(self, text: str) -> None:
        try:
            self.screen.write(text)
            self.screen.flush()
        except (OSError, ValueError):  # the terminal is gone: training continues
            pass
