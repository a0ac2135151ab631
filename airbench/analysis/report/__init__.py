"""A report on runs: one self-contained HTML file, a Markdown or CSV table, or a figure as PNG, PDF or SVG.

`write.py`: the file. `html.py`: the page. `tables.py`: Markdown and
CSV. `order.py`: which run comes first, and on what images.
"""

from airbench.analysis.report.html import html_report
from airbench.analysis.report.tables import csv_report, markdown_report
from airbench.analysis.report.write import write_report

__all__ = ["csv_report", "html_report", "markdown_report", "write_report"]
