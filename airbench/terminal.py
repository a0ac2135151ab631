"""What people see: a bar inside a trial, a row an epoch, a table at the end. Plain lines where there is no terminal."""

import sys
from collections.abc import Sequence
from typing import Any, TextIO

from tqdm import tqdm

from airbench.trial import EpochRow, TrialResult

COLUMNS = ("trial", "epoch", "train_loss", "train_acc", "test_acc", "tta_acc", "seconds")


class Terminal:
    """Shows the progress of trials. It is the Watcher of each of them."""

    def __init__(self, recipes: Sequence[str], trials: int, *, out: TextIO | None = None):
        self.out = out or sys.stdout
        self.width = max(len(name) for name in recipes)
        self.trials = trials
        self.bar: Any = None
        self.recipe, self.trial = "", 0
        self.header_shown = False

    def say(self, text: str = "") -> None:
        """Print a line without disturbing the bar."""
        if self.bar is None:
            print(text, file=self.out, flush=True)
        else:
            self.bar.clear()
            print(text, file=self.out, flush=True)
            self.bar.refresh()

    def start_trial(self, recipe: str, trial: int) -> None:
        """A trial, counted from 1, begins."""
        self.recipe, self.trial = recipe, trial
        if not self.header_shown:
            self.say(self._row("recipe", *COLUMNS))
            self.header_shown = True
        if sys.stderr.isatty():
            label = f"{recipe} trial {trial}/{self.trials}"
            self.bar = tqdm(desc=label, unit=" steps", leave=False, dynamic_ncols=True, smoothing=0.1)

    def on_step(self, step: int, total: int) -> None:
        """Move the bar."""
        if self.bar is not None:
            self.bar.total = total
            self.bar.update(step - self.bar.n)

    def on_epoch(self, row: EpochRow) -> None:
        """Print the row of an epoch."""
        self.say(
            self._row(
                self.recipe,
                str(self.trial),
                f"{row.epoch:g}",
                f"{row.train_loss:.4f}",
                f"{row.train_accuracy:.4f}",
                f"{row.accuracy:.4f}",
                "",
                f"{row.seconds:.2f}",
            )
        )

    def end_trial(self, result: TrialResult | None, failure: str = "") -> None:
        """Print the last row of a trial, or why it failed."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None
        if result is None:
            self.say(f"{self.recipe} trial {self.trial} FAILED: {failure}")
        else:
            self.say(
                self._row(
                    self.recipe,
                    str(self.trial),
                    "final",
                    "",
                    "",
                    f"{result.plain_accuracy:.4f}",
                    f"{result.accuracy:.4f}",
                    f"{result.seconds:.2f}",
                )
            )

    def _row(self, recipe: str, *cells: str) -> str:
        widths = (5, 6, 10, 9, 8, 7, 8)
        padded = (f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        return f"{recipe:<{self.width}}  " + "  ".join(padded)


def summary_table(summaries: Sequence[tuple[str, dict[str, Any]]]) -> list[str]:
    """Lines of the final table: one recipe each."""
    rows = [("recipe", "n", "accuracy (TTA)", "95% interval", "plain", "seconds", "target")]
    for name, summary in summaries:
        failed = f", {summary['failed']} failed" if summary["failed"] else ""
        if not summary["finished"]:
            rows.append((name, f"0{failed}", "-", "-", "-", "-", "not reached"))
            continue
        accuracy, plain, seconds = summary["accuracy"], summary["plain_accuracy"], summary["seconds"]
        interval = "-" if accuracy["std"] is None else f"{accuracy['low']:.2%} to {accuracy['high']:.2%}"
        spread = "" if accuracy["std"] is None else f" ± {accuracy['std']:.2%}"
        verdict = "reached" if summary["target_reached"] else "not reached"
        rows.append(
            (
                name,
                f"{summary['finished']}{failed}",
                f"{accuracy['mean']:.2%}{spread}",
                interval,
                f"{plain['mean']:.2%}",
                f"{seconds['median']:.2f}",
                f"{summary['target']:.2%} {verdict}",
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
