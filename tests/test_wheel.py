"""The built wheel is whole: in an empty folder, without the repository, recipes are found by name and train."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FEW = ("data.train_images=200", "train.batch_size=50", "train.epochs=1", "net.widths=[4, 8, 8]", "evaluate.tta=[]")


def run(arguments: list[str | Path], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-P", *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel of this source is installed, without its dependencies."""
    folder = tmp_path_factory.mktemp("wheel")
    source, target = folder / "source", folder / "installed"
    source.mkdir()
    for name in ("airbench", "configs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    pip = ["-m", "pip", "--disable-pip-version-check", "-q"]
    offline = ["--no-index", "--no-deps"]
    # Without a compiler, as on many machines: the kernels are optional, and compiling them takes a minute.
    run([*pip, "wheel", *offline, "--no-build-isolation", "-w", folder, source], folder, CC="false", CXX="false")
    (wheel,) = folder.glob("*.whl")
    run([*pip, "install", *offline, "--target", target, wheel], folder)
    return target


def airbench(installed: Path, folder: Path, *arguments: str) -> str:
    return run(["-m", "airbench", *arguments], folder, PYTHONPATH=str(installed)).stdout


def test_every_room_is_in_the_wheel(installed: Path) -> None:
    there = {p.relative_to(ROOT / "airbench") for p in (ROOT / "airbench").rglob("*.py")}
    assert there == {p.relative_to(installed / "airbench") for p in (installed / "airbench").rglob("*.py")}
    recipes = {p.relative_to(ROOT / "configs") for p in (ROOT / "configs").rglob("*") if p.is_file()}
    copied = installed / "airbench" / "configs"
    assert recipes == {p.relative_to(copied) for p in copied.rglob("*") if p.is_file()}
    assert (installed / "airbench" / "docs" / "extending.md").is_file()


def test_a_shipped_recipe_trains_by_name_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    assert str(installed) in airbench(installed, tmp_path, "recipes")
    airbench(installed, tmp_path, "train", "quickstart", "quickstart_sgd", *FEW)
    assert len(list((tmp_path / "runs").glob("*/summary.json"))) == 2


def test_a_recipe_of_ones_own_extends_a_shipped_one_by_name(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("extends: airbench94_muon.yaml\ntrain: {epochs: 2}\n")
    assert "epochs: 2.0" in airbench(installed, tmp_path, "train", "mine.yaml", "--print-recipe")
