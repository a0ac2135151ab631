"""Sweeps without training, for tests of what is said of them."""

from collections.abc import Callable, Sequence
from pathlib import Path

from airbench.recipe import load_recipe
from airbench.sweep import folder
from airbench.sweep.axes import Setting, overrides, parse_axis, settings
from airbench.sweep.folder import AGAIN, SEARCH, Sweep
from tests.analysis.fake_runs import failed_line, fake_run

RECIPE = "airbench94_muon"


def fake_sweep(
    path: Path,
    axes: Sequence[str],
    accuracies: Callable[[Setting], Sequence[float]],
    *,
    count: int | None = None,
    again: Sequence[float] = (),
    failed: tuple[int, int] = (0, 0),
    on_test: bool = False,
) -> Sweep:
    """A sweep whose settings came out as ``accuracies`` says; the best two again, with ``again`` as accuracies.

    Of their fresh trials so many more ``failed``.
    """
    chosen = tuple(settings([parse_axis(text) for text in axes], count, 0))
    found = [accuracies(setting) for setting in chosen]
    plan = Sweep(path, chosen, trials=len(found[0]), seed=0, top=2, again=len(again), on_test=on_test, axes=tuple(axes))
    sweep = folder.create_at(path, load_recipe(RECIPE, ["data.held_out=5000"]), plan)
    order = sorted(range(len(chosen)), key=lambda number: -sum(found[number]))
    for number, values in enumerate(found):
        _run(sweep, SEARCH, number, values)
    for place, number in enumerate(order[:2] if again else []):
        _run(sweep, AGAIN, number, [value - 0.003 * place for value in again], failed[place])
    return sweep


def _run(sweep: Sweep, part: str, number: int, values: Sequence[float], failed: int = 0) -> None:
    name = folder.name_of(number)
    words = ["data.held_out=5000", *overrides(sweep.settings[number]), f"name={name}"]
    data = {"name": "cifar10", "held_out": 5000, "test_fingerprint": "held out"}
    lines = [failed_line(len(values) + i) for i in range(failed)]
    fake_run(sweep.path / part / f"20260101-000000-{name}", values, overrides=words, data=data, lines=lines)
