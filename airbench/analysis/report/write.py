"""A report as a file."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from airbench.analysis.compare import same_images
from airbench.analysis.experiments import refuse_duplicates
from airbench.analysis.labels import labels
from airbench.analysis.report.html import html_report
from airbench.analysis.report.order import evaluated_on
from airbench.analysis.report.tables import csv_report, markdown_report
from airbench.errors import AirbenchError
from airbench.runs import RunRecord


def write_report(runs: Sequence[RunRecord], form: str, file: Path) -> None:
    """Write a report in ``form`` (html, md, csv, png, pdf or svg) atomically. Raises AirbenchError."""
    refuse_duplicates(runs)
    if form in ("png", "pdf", "svg"):
        from airbench.analysis import figures  # loads matplotlib

        content = figures.overview([(evaluated_on(g[0]), g, labels(g)) for g in same_images(runs)], form)
    else:
        text = {"html": html_report, "md": markdown_report, "csv": csv_report}[form](runs)
        content = text.encode("utf-8")
    temporary = file.parent / f"{file.name}.part"
    try:
        temporary.write_bytes(content)
        os.replace(temporary, file)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise AirbenchError(f"{file}: cannot be written ({error.strerror}); choose another place with --out") from None
