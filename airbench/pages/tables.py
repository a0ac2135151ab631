"""Tables in Markdown: a row for each measurement, columns that are computed, and columns of text."""

import math
import statistics
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Annotated, Literal

from pydantic import Field

from airbench.analysis.compare import difference_text
from airbench.analysis.experiments import refuse_duplicates
from airbench.analysis.report.tables import markdown_table
from airbench.analysis.statistics import Difference, Summary, summarize, untested, welch
from airbench.errors import AirbenchError, nearest
from airbench.pages.sources import Measured, Row, measure
from airbench.recipe.config import Config, Count

NAME = "recipe"
"""The column with a row's name, which links to its run folder."""


class Table(Config):
    """A table: its columns and its rows."""

    columns: Annotated[list[str | dict[str, str]], Field(min_length=1)]
    """Names of columns, or a name and its heading: `difference: against 3 steps`. Those that are not computed are text
    that rows give under the column's name."""

    rows: Annotated[list[Row], Field(min_length=1)]
    """What was measured, from top to bottom."""

    comparisons: Count | None = None
    """Number of comparisons that the intervals of `difference` and `lead` jointly hold for; unset: of each row that
    others are compared with, as many as are shown."""

    @property
    def headings(self) -> dict[str, str]:
        """Heading by column."""
        named = [{column: ""} if isinstance(column, str) else column for column in self.columns]
        return {key: text for column in named for key, text in column.items()}


@dataclass(frozen=True)
class Line:
    """A row with what was measured for it, and for the rows that it refers to."""

    row: Row
    own: Measured | None
    against: Measured | None
    timed_against: Measured | None
    comparisons: int


Cell = Callable[[Measured, Line], str]


def _number_of_trials(own: Measured, line: Line) -> str:
    return str(len(own.accuracies)) + (f", {own.failed} failed" if own.failed else "")


def _accuracy(own: Measured, line: Line) -> str:
    s = summarize(own.accuracies)
    return f"{s.mean:.2%}" + (f" ± {s.std:.2%}" if s.n > 1 else "")


def _interval(own: Measured, line: Line) -> str:
    s = summarize(own.accuracies)
    return f"{s.low:.2%} to {s.high:.2%}" if not math.isnan(s.low) else ""


def _accuracy_and_interval(own: Measured, line: Line) -> str:
    return mean_and_interval(summarize(own.accuracies))


def mean_and_interval(s: Summary) -> str:
    """Return the mean of accuracies, with its interval if it has one."""
    return f"{s.mean:.2%}" + ("" if math.isnan(s.low) else f" ({s.low:.2%} to {s.high:.2%})")


def _each(own: Measured, line: Line) -> str:
    return ", ".join(f"{100 * value:.2f}" for value in own.accuracies)


def _plain(own: Measured, line: Line) -> str:
    return f"{statistics.fmean(own.plain):.2%}" if own.plain else ""


def _seconds(own: Measured, line: Line) -> str:
    return three_digits(statistics.median(own.seconds)) if own.seconds else ""


def _each_seconds(own: Measured, line: Line) -> str:
    return ", ".join(three_digits(value) for value in own.seconds)


def three_digits(value: float) -> str:
    """Return a positive number with three digits, or more before the point: 0.299, 16.0, 1,631."""
    return f"{value:,.0f}" if value >= 99.95 else f"{value:#.3g}"


def _times(own: Measured, line: Line) -> str:
    other = line.timed_against
    if not own.seconds or other is None or not other.seconds:
        return ""
    return f"{statistics.median(own.seconds) / statistics.median(other.seconds):.2f}"


def _pflop(own: Measured, line: Line) -> str:
    return three_digits(own.pflop) if own.pflop else ""


def _difference(own: Measured, line: Line) -> str:
    return "" if line.against is None else difference_text(_compare(own, line.against, line.comparisons))


def _lead(own: Measured, line: Line) -> str:
    return "" if line.against is None else difference_text(_compare(line.against, own, line.comparisons))


def _compare(a: Measured, b: Measured, comparisons: int) -> Difference:
    if a.seeds_vary and b.seeds_vary:
        return welch(a.accuracies, b.accuracies, comparisons)
    return untested(fmean(a.accuracies) - fmean(b.accuracies))


COLUMNS: Mapping[str, tuple[str, Cell]] = {
    "n": ("n", _number_of_trials),
    "accuracy": ("mean accuracy", _accuracy),
    "interval": ("95% interval", _interval),
    "accuracy_interval": ("mean accuracy (95% interval)", _accuracy_and_interval),
    "each": ("each, %", _each),
    "plain": ("without TTA", _plain),
    "seconds": ("median seconds", _seconds),
    "each_seconds": ("seconds, each", _each_seconds),
    "times": ("times the seconds", _times),
    "pflop": ("PFLOP", _pflop),
    "difference": ("difference (95% jointly)", _difference),
    "lead": ("lead (95% jointly)", _lead),
}
"""Heading and cell of each computed column. ``difference`` is the row minus the one that it names with ``against``,
``lead`` the other way round, ``times`` its median seconds over those of ``timed_against``."""


_OF_TWO = {"difference", "lead"}
_CLAIMS = {"accuracy", "interval", "accuracy_interval", *_OF_TWO}
"""Columns that say something of accuracies: with failed trials, only of those that finished."""


def filled_table(table: Table, page: Path) -> str:
    """Return ``table`` in Markdown. Raises AirbenchError for rows that cannot be read or refer to none."""
    lines = _lines(table, page)
    head = [text or (COLUMNS[key][0] if key in COLUMNS else key) for key, text in table.headings.items()]
    body = [[_cell(key, line) for key in table.headings] for line in lines]
    return "\n".join(markdown_table([head, *body]))


def _lines(table: Table, page: Path) -> list[Line]:
    by_id = {row.id: row for row in table.rows if row.id}
    _check(table, by_id, page)
    measured = {id(row): measure(row, page) for row in table.rows}

    def referred(name: str | None) -> Measured | None:
        return measured[id(by_id[name])] if name else None

    for row in table.rows:
        own = measured[id(row)]
        check_comparable(page, own, referred(row.against), "images")
        check_comparable(page, own, referred(row.timed_against), "device")

    compared = Counter(row.against for row in table.rows)
    del compared[None]
    most = max(compared.values(), default=0) if _OF_TWO & set(table.headings) else 0
    if table.comparisons is not None and table.comparisons < most:
        raise AirbenchError(f"{page}: comparisons = {table.comparisons}: the table shows {most}; give no fewer")
    return [
        Line(
            row, measured[id(row)], referred(row.against), referred(row.timed_against),
            table.comparisons or compared[row.against] or 1,
        )
        for row in table.rows
    ]  # fmt: skip


def check_comparable(page: Path, a: Measured | None, b: Measured | None, what: Literal["images", "device"]) -> None:
    """Raise AirbenchError if ``what`` is known of both and differs, or if they share a trial."""
    if a is None or b is None or a is b:
        return
    refuse_duplicates([*a.runs, *b.runs])
    if {getattr(a, what), getattr(b, what)} - {""} not in ({getattr(a, what)}, {getattr(b, what)}, set()):
        raise AirbenchError(f"{page}: {a.name} and {b.name} differ in their {what}, so this cannot be compared")


def _check(table: Table, by_id: Mapping[str, Row], page: Path) -> None:
    ids = [row.id for row in table.rows if row.id]
    for twice in {name for name in ids if ids.count(name) > 1}:
        raise AirbenchError(f"{page}: id: {twice}: two rows of a table have it; name each differently")
    for row in table.rows:
        for name in (row.against, row.timed_against):
            if name and name not in by_id:
                raise AirbenchError(f"{page}: no row of the table has id: {name}")
        for key in row.model_extra or {}:
            if key not in table.headings:
                raise AirbenchError(f"{page}: {key}: no column of the table; columns: {', '.join(table.headings)}")
            if key in COLUMNS:
                raise AirbenchError(f"{page}: {key} is computed from trials; leave it out of the row")
    for key in table.headings:
        if key not in COLUMNS and key != NAME and not any(key in (row.model_extra or {}) for row in table.rows):
            near = nearest(key, COLUMNS)
            hint = f"did you mean '{near}'?" if near else f"computed columns: {', '.join(COLUMNS)}"
            raise AirbenchError(f"{page}: column {key} is not computed, and no row has it; {hint}")


def _cell(key: str, line: Line) -> str:
    if key in COLUMNS:
        return _computed(key, line.own, line) if line.own else ""
    text = str((line.row.model_extra or {}).get(key, ""))
    if key != NAME or line.own is None:
        return text
    return linked(text or line.own.name, line.own.folder)


def _computed(key: str, own: Measured, line: Line) -> str:
    """Return a computed cell; one that summarizes or compares accuracies says how many trials failed."""
    text = COLUMNS[key][1](own, line)
    rows = [own, line.against] if key in _OF_TWO else [own]
    known = [each for each in rows if each is not None]
    failed = sum(each.failed for each in known)
    if not text or not failed or key not in _CLAIMS:
        return text
    return f"{text}; {failed} of {failed + sum(len(each.accuracies) for each in known)} failed"


def linked(text: str, folder: str) -> str:
    """Return ``text`` as a link to ``folder``: its part before the first comma or bracket, if it has no link yet."""
    if not folder or "](" in text:
        return text
    end = min((at for at in (text.find(","), text.find(" (")) if at > 0), default=len(text))
    return f"[{text[:end]}]({folder}){text[end:]}"
