"""What a run says of its code: committed only if every byte is the commit's."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from airbench.experiment import environment


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A committed package in a repository of its own, in place of ours."""
    folder = tmp_path / "airbench"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "evaluate.py").write_text("accuracy = 0.94\n")
    git(tmp_path, "init", "-q")
    commit(tmp_path)
    monkeypatch.setattr(environment, "SOURCE", folder)
    monkeypatch.setattr(environment, "_modules_from_elsewhere", list)
    return folder


def git(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", str(folder), *who, *words], check=True, capture_output=True)


def commit(folder: Path) -> None:
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "a state")


def test_a_clean_checkout_is_committed_code(package: Path) -> None:
    source, difference = environment.describe_source()
    assert source["committed"] is True
    assert difference == ""


@pytest.mark.parametrize("flag", [None, "--assume-unchanged", "--skip-worktree"])
def test_a_changed_file_is_seen_even_where_git_was_told_not_to_look(package: Path, flag: str | None) -> None:
    if flag:
        git(package, "update-index", flag, "evaluate.py")
    (package / "evaluate.py").write_text("accuracy = 1.0\n")
    source, difference = environment.describe_source()
    assert source["committed"] is False
    assert source["note"] == "uncommitted changes"
    assert "+accuracy = 1.0" in difference


@pytest.mark.parametrize("staged", [False, True])
def test_a_new_file_is_no_committed_code(package: Path, staged: bool) -> None:
    (package / "faster.py").write_text("")
    if staged:
        git(package, "add", "faster.py")
    source, _ = environment.describe_source()
    assert source["committed"] is False
    assert source["untracked"] == ["faster.py"]


def test_asking_leaves_the_index_of_the_user_alone(package: Path) -> None:
    index = package.parent / ".git" / "index"
    before = index.read_bytes()
    (package / "evaluate.py").write_text("accuracy = 1.0\n")
    environment.describe_source()
    assert index.read_bytes() == before


def test_a_module_of_the_package_from_another_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment._modules_from_elsewhere() == []
    module = ModuleType("airbench.training.faster")
    module.__file__ = str(tmp_path / "faster.py")
    monkeypatch.setitem(sys.modules, "airbench.training.faster", module)
    assert environment._modules_from_elsewhere() == ["airbench.training.faster"]
