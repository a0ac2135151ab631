"""Every command on every page works: make targets exist, recipes load, options are known, links lead somewhere."""

import glob
import re
import shlex
import subprocess
from html import escape
from importlib.util import find_spec
from pathlib import Path

import pytest

from airbench.cli import build_parser, main
from airbench.cli.recipes import read_recipes
from airbench.pages.blocks import Block, replace_blocks
from tests.conftest import CONFIGS

ROOT = CONFIGS.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "configs" / "README.md",
    ROOT / "runs" / "records" / "README.md",
    ROOT / "runs" / "records" / "studies" / "README.md",
    *sorted((ROOT / "airbench" / "docs").glob("*.md")),
]
FILLED = [ROOT / name for name in re.findall(r"^PAGES := (.*)$", (ROOT / "Makefile").read_text(), re.M)[0].split()]
"""Pages with tables and figures from kept runs."""

OTHERS = ("#", "git", "cd ", "ray ", "pip ")
"""Beginnings of lines that are not ours to test."""


def commands(page: Path) -> list[str]:
    text = page.read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines()]
    shown = [line for line in lines if line and not line.startswith(OTHERS)]
    if page.name == "extending.md":  # the files that it names are made in test_extending
        shown = [line for line in shown if "mine." not in line]
    inline = re.findall(r"`(airbench [a-z-]+ [^`]*)`", text)  # a bare name in running text is no command
    return shown + (inline if page == PAGES[0] else [])


def test_readme_has_commands() -> None:
    assert {"make quickstart", "make test", "make speedrun"} <= set(commands(PAGES[0]))


SHOWN = [
    (page.name, command, shown)
    for page in PAGES
    for command, shown in re.findall(
        r"^\$ airbench ((?:verify|compare|time-to-target) runs/.*)\n((?:.+\n)+?)```", page.read_text(), re.M
    )
]
"""Commands on kept runs, with what they are said to print."""


def test_shown_output_is_found() -> None:
    assert len(SHOWN) == sum(page.read_text().count("\n$ airbench ") for page in PAGES) - 1  # one trains


@pytest.mark.parametrize(("page", "command", "shown"), SHOWN)
def test_shown_output_is_what_the_command_prints(
    page: str, command: str, shown: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Line by line and in order; an ellipsis stands for the rest of a line, or for lines left out."""
    monkeypatch.chdir(ROOT)
    main(command.split())
    printed = iter(line.rstrip() for line in capsys.readouterr().out.splitlines())
    for line in shown.splitlines():
        start, cut, _ = line.partition("…")
        assert any(each.startswith(start) if cut else each == start.rstrip() for each in printed), line


@pytest.mark.parametrize("page", FILLED, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_says_what_its_runs_say(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables, shown output and the descriptions of figures; `make records` fills them anew."""
    monkeypatch.chdir(ROOT)
    assert main(["fill", "--check", str(page.relative_to(ROOT))]) == 0
    for description, file in re.findall(r"!\[Mean accuracy\. ([^]]*)\]\(([^)]*\.svg)\)", page.read_text()):
        assert f"<desc>{escape(description)}</desc>" in (page.parent / file).read_text()


def test_make_records_fills_every_page_that_has_something_to_fill() -> None:
    blocks: list[Block] = []
    for page in [*PAGES, *(ROOT / "runs" / "records").glob("*.md")]:
        replace_blocks(page, page.read_text(), lambda block: blocks.append(block) or "")  # type: ignore[func-returns-value]
    assert {block.page for block in blocks} == set(FILLED)


def test_the_readme_is_short() -> None:
    assert len(PAGES[0].read_text().splitlines()) <= 170


@pytest.mark.parametrize("command", sorted({command for page in PAGES for command in commands(page)}))
def test_command_of_a_page(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    words = [file for word in shlex.split(command) for file in (sorted(glob.glob(word)) if "*" in word else [word])]
    while "=" in words[0]:  # settings of the environment
        words = words[1:]
    if words[0] == "make":
        done = subprocess.run(["make", "-n", *words[1:]], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    elif words[:2] == ["python", "-m"]:
        assert find_spec(words[2])
    elif words[0] in ("python", "airbench"):
        arguments = ["train", *words[2:]] if words[:2] == ["python", "train.py"] else words[1:]
        options = build_parser().parse_args(arguments)
        if arguments[0] == "train" and "<" not in command:
            assert read_recipes(options)
    else:
        pytest.fail(f"a page has a command that no test knows: {command}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_page_is_found_from_the_readme() -> None:
    found, new = set(), {PAGES[0].resolve()}
    while new:
        found |= new
        links = [(page, link) for page in new for link in re.findall(r"\]\(([^):#]+\.md)", page.read_text())]
        new = {(page.parent / link).resolve() for page, link in links} - found
    assert {page.resolve() for page in PAGES} <= found
