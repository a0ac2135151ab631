"""Lines for a terminal: nothing is lost, nothing but words is broken, and pipes get them whole."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airbench.text import folded


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "25")


@given(st.lists(st.text("abc:/.%…-", min_size=1, max_size=12), min_size=1, max_size=60))
def test_every_line_fits_and_no_word_changes(words: list[str]) -> None:
    lines = folded(" ".join(words), Screen()).split("\n")
    assert all(len(line) <= 80 for line in lines)
    assert " ".join(lines).split() == words


def test_what_continues_a_line_stands_below_its_text() -> None:
    first, second = folded(f"trials    {'94.13% in 196.32 s  ' * 4}".rstrip(), Screen()).split("\n")
    assert first.startswith("trials    94.13% in 196.32 s  94.13%")
    assert re.match(r" {10}\S", second)


def test_a_line_without_a_label_is_continued_two_columns_further_in() -> None:
    _, second = folded("  " + "word " * 20, Screen()).split("\n")
    assert re.match(r" {4}word", second)


PROGRAMS = ("resume with: airbench", ".venv/bin/airbench", "/bin/python3 -m airbench", "'/home/My Dir/airbench'")
COMMANDS = [f"  {program} report {'runs/a ' * 15}" for program in PROGRAMS]


@pytest.mark.parametrize("text", ["x" * 90, *COMMANDS])
def test_a_long_word_and_a_command_stay_in_one_piece(text: str) -> None:
    assert folded(text, Screen()) == text


def test_files_pipes_and_closed_streams_get_lines_whole() -> None:
    closed = io.StringIO()
    closed.close()
    assert folded("word " * 40, io.StringIO()) == folded("word " * 40, closed) == "word " * 40
