"""Markdown pages whose tables and figures are filled from kept runs, so that no number on them is copied by hand."""

from airbench.pages.fill import fill_page

__all__ = ["fill_page"]
