"""A self-contained HTML page, and what it is made of. No scripts; what can be chosen is chosen by the style sheet."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from airbench.analysis.style import CSS


@dataclass(frozen=True)
class Html:
    """Text that is HTML already."""

    text: str


@dataclass(frozen=True)
class Picture:
    """A figure as inline SVG, with its title and its text alternative."""

    title: str
    """Written above it, or empty."""
    svg: str
    alternative: str
    caption: str = ""
    """Written below the figure."""


Cell = str | tuple[str, str] | Html
"""A text, a text and its class, or HTML."""


def html_page(title: str, body: str) -> str:
    """Return a page without external resources. ``body`` is HTML."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{CSS}</style></head>'
        f"<body>{body}</body></html>\n"
    )


def html_table(rows: Sequence[Sequence[Cell]]) -> str:
    """Return a table, the first of whose rows is its header. On a telephone each row is a card."""
    header, *body = rows
    names = [cell if isinstance(cell, str) else "" for cell in header]
    head = "".join(_cell("th", cell) for cell in header)
    lines = "".join(
        "<tr>" + "".join(_cell("td", cell, name) for cell, name in zip(row, names, strict=True)) + "</tr>"
        for row in body
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'


def _cell(tag: str, cell: Cell, name: str = "") -> str:
    labelled = f' data-label="{escape(name)}"' if name else ""
    if isinstance(cell, Html):
        return f"<{tag}{labelled}>{cell.text}</{tag}>"
    text, kind = (cell, "") if isinstance(cell, str) else (cell[0], f' class="{cell[1]}"')
    return f"<{tag}{kind}{labelled}>{escape(text)}</{tag}>"


def html_panels(pictures: Sequence[Picture]) -> str:
    """Return figures side by side, as many as the page is wide for."""
    return f'<div class="panels">{"".join(map(_figure, pictures))}</div>'


def _figure(picture: Picture) -> str:
    svg = picture.svg.replace("<svg", f'<svg role="img" aria-label="{escape(picture.alternative)}"', 1)
    above = f"<h3>{escape(picture.title)}</h3>" if picture.title else ""
    below = f"<figcaption>{escape(picture.caption)}</figcaption>" if picture.caption else ""
    return f"<figure>{above}{svg}{below}</figure>"


def html_tabs(name: str, contents: Sequence[tuple[str, str]]) -> str:
    """Return contents, each a label and HTML, of which one is shown at a time; on paper all of them.

    ``name`` tells the choice from others on the page.
    """
    parts = [
        f'<input type="radio" name="{name}" id="{name}-{i}"{" checked" if i == 0 else ""}>'
        f'<label for="{name}-{i}">{escape(label)}</label><div>{content}</div>'
        for i, (label, content) in enumerate(contents)
    ]
    return f'<div class="tabs">{"".join(parts)}</div>'


def html_tiles(tiles: Sequence[tuple[str, str, str]]) -> str:
    """Return tiles for the main results: a name, a value and a remark each. Long values are written smaller."""
    parts = [
        f'<div class="tile"><div class="mute">{escape(what)}</div><b{_words(value)}>{escape(value)}</b>'
        f'<div class="note">{escape(remark)}</div></div>'
        for what, value, remark in tiles
    ]
    return f'<div class="tiles">{"".join(parts)}</div>'


def _words(value: str) -> str:
    return ' class="words"' if len(value) > 16 else ""


def html_legend(items: Sequence[tuple[str, str, str]]) -> str:
    """Return a legend of (colour, number, name)."""
    parts = [f"<li>{html_number(colour, number)}{escape(name)}</li>" for colour, number, name in items]
    return f'<ul class="legend">{"".join(parts)}</ul>'


def html_number(colour: str, number: str) -> str:
    """Return a number on a colour."""
    return f'<span class="number" style="background:{colour}">{escape(number)}</span>'
