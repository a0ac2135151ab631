"""The page of a GPU check is of this check, whatever lies in its folder."""

from pathlib import Path

from airbench.benchmark.gpu_check.page import write_page
from tests.analysis.fake_runs import fake_run


def test_runs_of_earlier_checks_are_not_shown(tmp_path: Path) -> None:
    times = {"20260101-a": "2026-01-01T00:00:00+00:00", "20260102-b": "2026-01-02T00:00:00+00:00"}
    for (name, started), seconds in zip(times.items(), (77.25, 33.5), strict=True):
        fake_run(
            tmp_path / "runs" / name, [0.94], seconds=[seconds], overrides=["name=hiverge-eager"], started=started
        )  # fmt: skip
    shown = {
        since: write_page(tmp_path, [], ["hiverge"], ("eager",), since).read_text()
        for since in ("", "2026-01-02T00:00:00+00:00", "2026-01-03T00:00:00+00:00")
    }
    assert ["33.5" in page for page in shown.values()] == [True, True, False]
    assert not any("77.2" in page for page in shown.values())
