"""``airbench --version``: what runs, in a few lines; and the version stands in one place."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch
import yaml

import airbench
from airbench import kernels
from airbench.cli import main
from tests.conftest import CONFIGS

ROOT = CONFIGS.parent


def test_the_version_says_code_torch_and_kernels(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"airbench {airbench.__version__}"
    words = dict(line.split(maxsplit=1) for line in lines[1:])
    assert words["code:"].startswith(("commit ", "no commit ("))
    assert words["torch:"] == torch.__version__
    assert words["kernels:"] == kernels.describe_kernels()
    assert words["kernels:"].startswith("compiled, for" if kernels.kernels() else "not ")


def test_uncommitted_changes_are_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    source = {"git_commit": "f" * 40, "committed": False, "note": "uncommitted changes", "sha256": "0" * 64}
    monkeypatch.setattr("airbench.experiment.environment.describe_source", lambda: (source, ""))
    with pytest.raises(SystemExit):
        main(["--version"])
    assert "commit ffffffffffff, uncommitted changes\n" in capsys.readouterr().out


@pytest.mark.parametrize(("content", "why"), [(None, "not compiled"), (b"no library", "cannot be loaded")])
def test_kernels_that_are_not_used_say_why(
    content: bytes | None, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "_kernels.so"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setattr(kernels, "_FILE", file)
    monkeypatch.setattr(kernels, "_load", kernels._load.__wrapped__)
    assert why in kernels.describe_kernels()


def test_help_waits_for_no_torch() -> None:
    command = (
        "import sys; from airbench.cli import build_parser; build_parser().format_help(); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0


def test_changelog_and_citation_name_the_same_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in project["project"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "airbench.__version__"}
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == airbench.__version__
    released = f"## {airbench.__version__} - {citation['date-released']}"
    assert released in (ROOT / "CHANGELOG.md").read_text().splitlines()
