"""A report as a file."""

from collections.abc import Sequence
from pathlib import Path

from airbench.analysis.compare import same_images
from airbench.analysis.experiments import refuse_duplicates
from airbench.analysis.labels import labels
from airbench.analysis.report.order import best_first, evaluated_on
from airbench.analysis.report.sections import Section
from airbench.analysis.report.tables import csv_report, markdown_report
from airbench.errors import AirbenchError
from airbench.runs import RunRecord
from airbench.runs.files import replace_file


def write_report(runs: Sequence[RunRecord], form: str, file: Path, sections: Sequence[Section] = ()) -> None:
    """Write a report in ``form`` (html, md, csv, png, pdf or svg) atomically. Raises AirbenchError.

    ``sections`` follow the runs, on a page and in Markdown; the other forms hold runs only.
    """
    refuse_duplicates(runs)
    content = _content(runs, form, sections)
    try:
        replace_file(file, content)
    except OSError as error:
        raise AirbenchError(f"{file}: cannot be written ({error.strerror}); choose another place with --out") from None


def _content(runs: Sequence[RunRecord], form: str, sections: Sequence[Section]) -> bytes:
    if form == "html":
        from airbench.analysis.report.html import html_report  # loads matplotlib

        return html_report(runs, sections).encode("utf-8")
    if form == "md":
        return markdown_report(runs, sections).encode("utf-8")
    if form == "csv":
        return csv_report(runs).encode("utf-8")
    from airbench.analysis.report.figures import entries, overview

    groups = [best_first(group) for group in same_images(runs)]
    return overview([(evaluated_on(group[0]), entries(group, labels(group))) for group in groups], form)
