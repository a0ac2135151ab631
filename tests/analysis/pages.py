"""What holds of every page: well-formed, without scripts, and without anything from elsewhere."""

import re
from html.parser import HTMLParser


class Checker(HTMLParser):
    """Reads a page; ``open`` are the elements that were not closed."""

    VOID = ("meta", "br", "path", "use", "rect", "circle", "input")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.external: list[str] = []
        self.names: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "img", "image", "iframe")
        if tag not in self.VOID:
            self.open.append(tag)
        self._note(attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def _note(self, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href", "xlink:href") and value:
                (self.links if value.startswith("#") else self.external).append(value)
            if name == "id" and value:
                self.names.append(value)


def check_page(page: str) -> None:
    """Fail unless ``page`` is well-formed and self-contained, and every figure has a text alternative."""
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert checker.external == []
    assert not re.search(r"url\((?!#)", page)
    assert "@import" not in page
    assert len(set(checker.names)) == len(checker.names), "an id is used twice"
    assert {link[1:] for link in checker.links} <= set(checker.names)
    assert set(re.findall(r"url\(#([^)]+)\)", page)) <= set(checker.names)
    assert page.count("<figure>") == len(re.findall(r'<svg role="img" aria-label="[^"]+"', page)) == page.count("<svg")
    for placeholder in ("#010203", "#040506"):
        assert placeholder not in page
