"""What is said of the best of a sweep: failures by their number, and no more claims than the noise allows."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from airbench.runs import RunRecord
from airbench.sweep.folder import SEARCH, Sweep
from airbench.sweep.results import at_an_end, outcome_of, result_lines
from airbench.sweep.trained import Cost
from tests.analysis.fake_runs import fake_run
from tests.sweep.fake_sweeps import fake_sweep

LR = "optimizers.filters.lr"


def test_failed_fresh_trials_are_no_accuracies_of_zero(tmp_path: Path) -> None:
    again = [0.93, 0.931]
    sweep = fake_sweep(
        tmp_path / "s", [f"{LR}=0.1,0.2"], lambda s: [0.9 + float(s[LR]) / 100], again=again, failed=(1, 0)
    )
    found = outcome_of(sweep)
    assert found.best == 0  # by rank a failure counts as 0
    (second,) = [row for row in found.rows if row[0] == "lr=0.2"]
    assert second[2:] == ("93.05% ± 0.07% (n = 2), 1 of 3 failed", "-")
    text = "\n".join(result_lines(sweep))
    assert "it is not compared with lr=0.2: 1 of 3 failed" in text
    assert "62.0" not in text


def test_a_search_whose_trials_partly_failed_says_so(tmp_path: Path) -> None:
    sweep = fake_sweep(tmp_path / "s", [f"{LR}=0.1,0.2"], lambda s: [0.93, 0.931])
    lines = sweep.runs()[1].path / "trials.jsonl"
    lines.write_text(lines.read_text().replace('"finished"', '"failed", "reason": "NaN: lower lr"', 1))
    (second,) = [row for row in outcome_of(sweep).rows if row[0] == "lr=0.2"]
    assert second[1] == "93.10% (n = 1), 1 of 2 failed"


class Drawn(Sweep):
    """A sweep whose settings are all alike, with runs that need no folder."""

    template: RunRecord
    search: Sequence[Sequence[float]]
    fresh: Sequence[Sequence[float]]

    def runs(self, part: str = SEARCH, numbers: Iterable[int] | None = None) -> dict[int, RunRecord]:
        return {
            n: _run(self.template, values) for n, values in enumerate(self.search if part == SEARCH else self.fresh)
        }

    def refused(self) -> dict[int, str]:
        return {}


def _run(template: RunRecord, values: Sequence[float]) -> RunRecord:
    trials = tuple(replace(template.trials[0], index=i, seed=i, accuracy=float(v)) for i, v in enumerate(values))
    return replace(template, trials=trials)


def test_of_equal_settings_none_is_praised_and_the_best_ones_interval_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data that choose the best also judge it: without a correction 8 in 100 claims are false, 11 intervals."""
    monkeypatch.setattr("airbench.sweep.results.importance", lambda _: {})
    monkeypatch.setattr("airbench.sweep.results.effects", lambda *_: None)
    monkeypatch.setattr("airbench.sweep.results.cost", lambda *_: Cost(0, 0, 0.0, 0.0))
    template, rng = fake_run(tmp_path / "run", [0.94]), np.random.default_rng(0)
    settings, n, families = 5, 10, 400
    sweep = Drawn(tmp_path, tuple({LR: str(i)} for i in range(settings)), 1, 0, settings, n, False)
    object.__setattr__(sweep, "template", template)
    false, missed = 0, 0
    for _ in range(families):
        object.__setattr__(sweep, "search", [[0.94]] * settings)
        object.__setattr__(sweep, "fresh", rng.normal(0.94, 0.0015, (settings, n)))
        found = outcome_of(sweep)
        assert found.accuracy is not None
        false += any("is better than" in line for line in found.said)
        missed += not found.accuracy.low <= 0.94 <= found.accuracy.high
    assert false / families <= 0.05
    assert missed / families <= 0.05


def test_a_best_at_the_end_of_its_values_is_told() -> None:
    tried = [{"optimizers.head.lr": lr, "net.activation": name} for lr in ("0.1", "0.2", "4e-1") for name in "ab"]
    assert at_an_end(tried, 0) == ["lr=0.1 is the lowest value tried: the best may lie below it"]
    assert at_an_end(tried, 2) == []
    assert at_an_end(tried, 5) == ["lr=4e-1 is the highest value tried: the best may lie above it"]
    assert at_an_end(tried[:4], 0) == []  # of two values one is always at an end
