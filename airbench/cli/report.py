"""The command that writes a report on runs and sweeps."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from airbench.cli.arguments import RUNS, add_plugins, load_plugins, output_file
from airbench.errors import AirbenchError
from airbench.runs import RunRecord, find_runs, read_run
from airbench.runs.files import named_twice

if TYPE_CHECKING:
    from airbench.analysis.report.sections import Section

T = TypeVar("T")

FORMATS = ("html", "md", "csv", "png", "pdf", "svg")
"""Formats of a report."""

WITH_SWEEPS = ("html", "md")
"""Those that sweeps are a part of."""

_HELP = """\
Write one self-contained page on runs and sweeps. Of runs: leaderboard, accuracies, accuracy against time, training
curves, comparisons, spectra, and each run's provenance with the command that reproduces it. Of a sweep: the best
setting and how sure it is, accuracy against each axis, what matters, the cost, and the recipe of the best; the runs
of its settings are not listed. Sweeps are part of html and md only.

  airbench report                                  everything under runs
  airbench report runs/<run> runs/<run> runs/<sweep> --out report.html
"""


def add_commands(commands: Any) -> None:
    """Add ``report``."""
    report = commands.add_parser(
        "report",
        help="write a report on runs and sweeps",
        description=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    report.add_argument(
        "runs", nargs="*", type=Path, metavar="RUN | SWEEP", help="folders of runs and sweeps (default: all under runs)"
    )
    report.add_argument("--format", choices=FORMATS, help="output format (default: that of --out, else html)")
    report.add_argument("--out", type=output_file, help="output file (default report.html, report.md, …)")
    add_plugins(report)
    report.set_defaults(command=_report)


def _report(options: argparse.Namespace) -> int:
    from airbench.analysis.report import write_report
    from airbench.analysis.report.order import count

    form, file = format_and_file(options.format, options.out)
    load_plugins(options)
    runs, sections = _named(options.runs, form) if options.runs else _all(form)
    for run in runs:
        if not run.finished:
            print(f"airbench: {run.path}: no trial finished, so it is not in the report", file=sys.stderr)
        elif run.problems:
            print(f"airbench: {run.path}: the run folder is damaged: {'; '.join(run.problems)}", file=sys.stderr)
    runs = [run for run in runs if run.finished]
    if not runs and not sections:
        raise AirbenchError("no run has a finished trial to report on; airbench runs lists all runs")
    write_report(runs, form, file, sections)
    found = [count(runs)] if runs else []
    print(f"{file}: {'; '.join([*found, *(section.summary for section in sections)])}")
    return 0


def _named(paths: Sequence[Path], form: str) -> "tuple[list[RunRecord], list[Section]]":
    """Read the named runs and sweeps."""
    from airbench.sweep.folder import is_sweep_folder

    sweeps = [path for path in paths if is_sweep_folder(path)]
    if sweeps and form not in WITH_SWEEPS:
        raise AirbenchError(f"{sweeps[0]}: a sweep is part of a report as {' or '.join(WITH_SWEEPS)}, not as {form}")
    twice = named_twice(sweeps)
    if twice is not None:
        raise AirbenchError(f"{twice}: is named twice; name each sweep only once")
    return [read_run(path) for path in paths if path not in sweeps], [_section(path) for path in sweeps]


def _all(form: str) -> "tuple[list[RunRecord], list[Section]]":
    """Read all that is under ``runs``; name on stderr what cannot be read."""
    from airbench.analysis.experiments import without_duplicates
    from airbench.sweep.folder import find_sweep_folders

    sweeps = find_sweep_folders(RUNS)
    paths = [path for path in find_runs(RUNS) if not any(path.is_relative_to(sweep) for sweep in sweeps)]
    sections = readable(_section, sweeps if form in WITH_SWEEPS else [])
    largest_first = sorted(readable(read_run, paths), key=lambda run: (-len(run.finished), run.path.name))
    runs, duplicates = without_duplicates(largest_first)
    for line in duplicates:
        print(f"airbench: {line.replace('name one of them', 'only the first is in the report')}", file=sys.stderr)
    return sorted(runs, key=lambda run: run.path.name, reverse=True), sections


def readable(read: Callable[[Path], T], paths: Sequence[Path]) -> list[T]:
    """Read what is at ``paths``; name on stderr what cannot be read."""
    found = []
    for path in paths:
        try:
            found.append(read(path))
        except AirbenchError as error:
            print(f"airbench: {error}", file=sys.stderr)
    return found


def _section(path: Path) -> "Section":
    from airbench.sweep.report import sweep_section  # loads torch

    return sweep_section(path)


def format_and_file(form: str | None, file: Path | None) -> tuple[str, Path]:
    """Choose the report's format by the suffix of its file, or the file by the format. Raises AirbenchError."""
    if file is None:
        return form or "html", Path(f"report.{form or 'html'}")
    suffix = {"htm": "html", "markdown": "md"}.get(file.suffix[1:].lower(), file.suffix[1:].lower())
    chosen = form or suffix or "html"
    if chosen in FORMATS and suffix in ("", chosen):
        return chosen, file
    remedy = f"use a name that ends in .{form or ', .'.join(FORMATS)}"
    if form and suffix in FORMATS:
        remedy = f"leave out --format {form}"
    raise AirbenchError(f"--out {file}: {'not a ' + form + ' file' if form else 'no such format'}; {remedy}")
