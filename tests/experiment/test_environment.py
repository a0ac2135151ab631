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


def test_a_filter_that_shows_git_another_file_hides_nothing(package: Path) -> None:
    git(package, "config", "filter.honest.clean", "git show HEAD:%f")
    (package.parent / ".git" / "info" / "attributes").write_text("airbench/evaluate.py filter=honest\n")
    (package / "evaluate.py").write_text("accuracy = 1.0\n")
    source, difference = environment.describe_source()
    assert difference == ""  # as git sees it
    assert source["committed"] is False


def test_a_commit_that_git_replaces_by_another_is_not_believed(package: Path) -> None:
    (package / "evaluate.py").write_text("accuracy = 1.0\n")
    git(package, "commit", "-q", "-a", "-m", "changed")
    git(package, "tag", "changed")
    git(package, "reset", "-q", "--hard", "HEAD~1")
    git(package, "replace", "HEAD", "changed")
    git(package, "reset", "-q", "--hard")
    assert "1.0" in (package / "evaluate.py").read_text()
    assert environment.describe_source()[0]["committed"] is False


def test_code_that_git_ignores_is_no_committed_code(package: Path) -> None:
    (package.parent / ".git" / "info" / "exclude").write_text("faster.py\n")
    (package / "faster.py").write_text("")
    source, _ = environment.describe_source()
    assert source["committed"] is False
    assert source["untracked"] == ["faster.py"]


def test_other_line_ends_are_the_same_code(package: Path) -> None:
    git(package, "config", "core.autocrlf", "true")
    (package / "evaluate.py").write_bytes(b"accuracy = 0.94\r\n")
    assert environment.describe_source()[0]["committed"] is True


@pytest.mark.parametrize("name", ["faster.py", "faster.so", "evaluate.cpython-311-x86_64-linux-gnu.so", "evaluate.pyc"])
def test_what_python_would_import_is_source_even_beside_a_run(package: Path, name: str) -> None:
    (package.parent / ".gitignore").write_text("*.so\n*.pyc\n")
    commit(package.parent)
    assert environment.describe_source()[0]["committed"] is True
    (package / "run.json").write_text("{}")
    (package / name).write_text("")
    source, _ = environment.describe_source()
    assert source["committed"] is False
    assert name in source["untracked"]


def test_compiled_kernels_and_bytecode_are_no_source(package: Path) -> None:
    for folder, name in (("kernels", "_kernels.cpython-311-x86_64-linux-gnu.so"), ("__pycache__", "evaluate.pyc")):
        (package / folder).mkdir()
        (package / folder / name).write_text("")
    (package.parent / ".gitignore").write_text("*.so\n__pycache__/\n")
    commit(package.parent)
    assert environment.describe_source()[0]["committed"] is True


def test_a_link_in_place_of_a_file_is_another_file(package: Path, tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text("accuracy = 0.94\n")
    (package / "evaluate.py").unlink()
    (package / "evaluate.py").symlink_to(tmp_path / "other.py")
    assert environment.describe_source()[0]["committed"] is False


def test_output_of_a_run_among_the_code_is_no_source(package: Path) -> None:
    run = package / "runs" / "20260101-000000-x"
    run.mkdir(parents=True)
    (run / "run.json").write_text("{}")
    (run / "trials.jsonl").write_text("")
    assert environment.describe_source()[0]["committed"] is True


def test_what_python_runs_at_its_start_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("sitecustomize")
    module.__file__ = "/somewhere/sitecustomize.py"
    monkeypatch.setitem(sys.modules, "sitecustomize", module)
    assert environment._startup_modules()["sitecustomize"] == "/somewhere/sitecustomize.py"


def test_why_git_names_no_commit_is_said_with_its_remedy(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container in which the checkout belongs to somebody else."""
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    source, _ = environment.describe_source()
    assert source["committed"] is False
    assert "dubious ownership" in source["note"]
    assert "(remedy: git config --global --add safe.directory" in source["note"]
    monkeypatch.setenv("PATH", "")
    assert environment.describe_source()[0]["note"] == "git is not installed"
