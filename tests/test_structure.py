"""The house keeps its shape: rooms import one way only, functions fit a screen, the training loop fits two."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import CONFIGS

PACKAGE = CONFIGS.parent / "airbench"
MODULES = sorted(PACKAGE.rglob("*.py"))

FLOORS = (
    {"errors"},
    {"recipe", "kernels"},
    {"device", "runs"},
    {"data", "net", "optim", "analysis"},
    {"training"},
    {"experiment"},
    {"benchmark", "studies", "api", "sweep", "pages"},
    {"cli"},
)
"""Rooms by floor, the lowest first. A room imports from itself and from lower floors only."""

MAX_LINES = 60
SCREENS = 2 * 65


def floor(room: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def imported_rooms(module: Path) -> Iterator[str]:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    for node in [n for n in ast.walk(tree) if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]:
        node.body = []  # imported by type checkers only
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if (
                parts[0] == "airbench"
                and len(parts) > 1
                and ((PACKAGE / parts[1]).is_dir() or parts[1] in ("device", "errors"))
            ):
                yield parts[1]


@pytest.mark.parametrize("module", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_rooms_import_one_way_only(module: Path) -> None:
    room = module.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if room in ("__init__", "__main__"):
        return
    for other in imported_rooms(module):
        assert other == room or floor(other) < floor(room), f"{room} imports {other}, which is not below it"


def test_every_room_has_a_floor() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert rooms <= set().union(*FLOORS)


@pytest.mark.parametrize("module", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_functions_fit_a_screen(module: Path) -> None:
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < MAX_LINES, f"{node.name} is too long"


def test_the_training_loop_fits_two_screens() -> None:
    assert len((PACKAGE / "training" / "loop.py").read_text(encoding="utf-8").splitlines()) <= SCREENS


@pytest.mark.parametrize("room", ["recipe", "runs"])
def test_recipes_and_runs_are_read_without_torch(room: str) -> None:
    command = f"import sys, airbench.{room}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command], check=False).returncode == 0
