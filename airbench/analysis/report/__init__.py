"""A report on runs: one self-contained HTML file, a Markdown or CSV table, or a figure as PNG, PDF or SVG.

`write.py`: the file. `html.py`: the page, with `figures.py`, `spectra.py`, `comparisons.py` and `provenance.py`.
`tables.py`: Markdown and CSV. `order.py`: which run comes first, and on what images. `sections.py`: what others add.
"""

from airbench.analysis.report.write import write_report

__all__ = ["write_report"]
