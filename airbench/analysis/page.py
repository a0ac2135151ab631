"""A self-contained HTML page."""

from collections.abc import Sequence
from html import escape

_CSS = """
:root { color-scheme: light dark;
  --paper: #ffffff; --ink: #1c2126; --faint: #b9c0c7; --soft: #f3f5f7; --good: #1d7f4f; --bad: #b3401f }
@media (prefers-color-scheme: dark) { :root {
  --paper: #14171a; --ink: #e4e8ec; --faint: #4b545c; --soft: #1e2327; --good: #58c08c; --bad: #f08c6a } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1.2rem; max-width: 60rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif }
h1 { font-size: 1.6rem; margin: 0 }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { text-align: left; padding: .35rem .8rem .35rem 0; border-bottom: 1px solid var(--faint);
  white-space: nowrap }
th { font-weight: 600 }
figure { margin: 0 }
figure svg { min-width: 34rem; max-width: 46rem; height: auto }
figcaption { font-size: .9rem; opacity: .8 }
pre { background: var(--soft); padding: .8rem; overflow-x: auto; font-size: .85rem; line-height: 1.4 }
.good { color: var(--good) }
.bad { color: var(--bad) }
details { margin: .5rem 0 }
summary { cursor: pointer; font-weight: 600 }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: .6rem 0 }
dt { opacity: .7 }
dd { margin: 0; overflow-wrap: anywhere }
@media print {
  :root { --paper: #fff; --ink: #000; --faint: #bbb; --soft: #f4f4f4 }
  body { max-width: none; padding: 0; font-size: 10pt }
  h2, summary { break-after: avoid }
  figure, tr, dl > * { break-inside: avoid }
  .wide, pre { overflow: visible }
  pre { white-space: pre-wrap; font-size: 8pt }
  table { font-size: 8pt }
  th, td { white-space: normal; padding-right: .4rem }
  figure svg { min-width: 0; max-width: 26rem } }
"""


def html_page(title: str, body: str) -> str:
    """Return a page without external resources. ``body`` is HTML."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_CSS}</style></head>'
        f"<body>{body}</body></html>\n"
    )


def html_table(rows: Sequence[Sequence[str | tuple[str, str]]]) -> str:
    """Return a table, the first of whose rows is its header. A cell is a text, or a text and its class."""
    header, *body = rows
    head = "".join(_cell("th", cell) for cell in header)
    lines = "".join("<tr>" + "".join(_cell("td", cell) for cell in row) + "</tr>" for row in body)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'


def _cell(tag: str, cell: str | tuple[str, str]) -> str:
    text, kind = (cell, "") if isinstance(cell, str) else (cell[0], f' class="{cell[1]}"')
    return f"<{tag}{kind}>{escape(text)}</{tag}>"
