"""What a report has besides its runs."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Section:
    """A part of a report, in each of its forms."""

    title: str
    html: str
    """Without the heading."""
    markdown: str
    """Without the heading."""
    summary: str
    """What it covers, in a few words, for the report's first line."""
