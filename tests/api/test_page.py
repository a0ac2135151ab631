"""The page on the Python API: its examples run, from top to bottom, and say what they promise."""

import re
from pathlib import Path

import pytest

from tests.conftest import CONFIGS

PAGE = CONFIGS.parent / "airbench" / "docs" / "python.md"
README = CONFIGS.parent / "README.md"


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", [PAGE, README], ids=lambda page: page.name)
def test_examples_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "example"}
    assert blocks(page)
    for code in blocks(page):
        exec(compile(code, page.name, "exec"), names)
    assert "%" in capfd.readouterr().out
