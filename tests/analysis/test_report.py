"""The report: self-contained, well-formed, true to the runs; opened in a real browser where there is one."""

import csv
import io
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from airbench.analysis.compare import compare_runs
from airbench.analysis.report import write_report
from airbench.analysis.report.figures import pareto_front
from airbench.analysis.report.html import html_report
from airbench.cli import main
from airbench.errors import AirbenchError
from airbench.runs import RunRecord
from tests.analysis.fake_runs import fake_run

SCRIPT = "description=<script>alert(1)</script>"


@pytest.fixture
def runs(tmp_path: Path) -> list[RunRecord]:
    return [
        fake_run(tmp_path / "20260101-a", [0.9412, 0.9405, 0.9409], spectra=True),
        fake_run(tmp_path / "20260102-b", [0.9352, 0.9361, 0.9349], recipe="airbench94", seconds=[40.0, 41.0, 42.0]),
        fake_run(tmp_path / "20260103-c", [0.93], recipe="airbench94", overrides=[SCRIPT]),
    ]


class Checker(HTMLParser):
    VOID = ("meta", "br", "path", "use", "rect", "circle")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.external: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href") and value and not value.startswith("#"):
                self.external.append(value)
        assert tag not in ("script", "link", "img", "iframe")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_page_is_well_formed_self_contained_and_complete(runs: list[RunRecord]) -> None:
    page = html_report(runs)
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert checker.external == []
    assert not re.search(r"url\((?!#)", page)
    assert page.count("<figure>") == page.count('role="img"') == 4
    for part in ("airbench94_muon", "94.09%", "prefers-color-scheme", "PFLOP", "--trials 3 --seed 0", "viewport"):
        assert part in page
    assert "#010203" not in page


def test_runs_of_one_name_are_told_apart(runs: list[RunRecord]) -> None:
    page = html_report(runs)
    assert "20260102-b" in page
    assert "20260103-c" in page


def test_markdown_and_csv(runs: list[RunRecord], tmp_path: Path) -> None:
    write_report(runs, "md", tmp_path / "r.md")
    first = (tmp_path / "r.md").read_text().splitlines()
    assert first[0].startswith("| recipe | n |")
    assert "airbench94_muon" in first[2]
    write_report(runs, "csv", tmp_path / "r.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "r.csv").read_text())))
    assert [row["recipe"] for row in rows] == ["airbench94_muon", "airbench94", "airbench94"]
    assert float(rows[0]["mean"]) == pytest.approx(0.940867, abs=1e-6)
    assert rows[2]["std"] == ""


def test_png_shows_every_run(runs: list[RunRecord], tmp_path: Path) -> None:
    write_report(runs, "png", tmp_path / "r.png")
    assert (tmp_path / "r.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert sorted(p.name for p in tmp_path.glob("*.p*")) == ["r.png"]


def test_one_run_alone(tmp_path: Path) -> None:
    page = html_report([fake_run(tmp_path / "a", [0.93])])
    assert "Comparisons" not in page


def test_place_that_cannot_be_written(runs: list[RunRecord], tmp_path: Path) -> None:
    with pytest.raises(AirbenchError, match="cannot be written"):
        write_report(runs, "csv", tmp_path / "gone" / "r.csv")


def test_pareto_front() -> None:
    points = [(1.0, 0.90, "a"), (2.0, 0.89, "b"), (2.0, 0.95, "c"), (3.0, 0.95, "d"), (4.0, 0.96, "e")]
    assert [label for _, _, label in pareto_front(points)] == ["a", "c", "e"]


CHROMIUM = shutil.which("chromium")


@pytest.mark.skipif(not CHROMIUM, reason="no chromium here")
def test_page_opens_in_a_browser(runs: list[RunRecord], tmp_path: Path) -> None:
    write_report(runs, "html", tmp_path / "r.html")
    picture = tmp_path / "r.png"
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--no-first-run", f"--user-data-dir={tmp_path / 'profile'}",
        "--window-size=390,3000", f"--screenshot={picture}", (tmp_path / "r.html").as_uri(),
    ]  # fmt: skip
    subprocess.run(command, capture_output=True, timeout=120, check=True)
    assert picture.stat().st_size > 20_000


def test_runs_on_other_images_are_kept_apart(tmp_path: Path) -> None:
    runs = [
        fake_run(tmp_path / "a", [0.94, 0.95]),
        fake_run(tmp_path / "b", [0.90, 0.91], data={"name": "shapes", "test_fingerprint": "other"}),
    ]
    page = html_report(runs)
    assert "Leaderboard on cifar10" in page
    assert "Leaderboard on shapes" in page
    assert "against" not in page.replace("Accuracy against time", "").split("Provenance")[0]
    with pytest.raises(AirbenchError, match="different images"):
        compare_runs(runs)


@pytest.mark.parametrize(
    ("words", "begins"),
    [
        (("--out", "a.pdf"), b"%PDF"),
        (("--out", "a.PNG"), b"\x89PNG"),
        (("--out", "a.svg"), b"<?xml"),
        (("--out", "a.htm"), b"<!doctype html>"),
        (("--out", "a", "--format", "md"), b"|"),
        (("--out", "a"), b"<!doctype html>"),
    ],
)
def test_the_name_of_the_file_says_its_format(words: tuple[str, ...], begins: bytes, tmp_path: Path) -> None:
    run = fake_run(tmp_path / "run", [0.94, 0.941])
    _, name, *more = words
    assert main(["report", str(run.path), "--out", str(tmp_path / name), *more]) == 0
    assert (tmp_path / name).read_bytes().lower().startswith(begins.lower())


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--out", "a.pdf", "--format", "png"), "a.pdf: not a png file; leave out --format png"),
        (("--out", "a.jpg"), "a.jpg: no such format; use a name that ends in .html, .md"),
    ],
)
def test_a_name_of_another_format_is_refused(
    words: tuple[str, ...], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = fake_run(tmp_path / "run", [0.94, 0.941])
    assert main(["report", str(run.path), *words]) == 2
    assert why in capsys.readouterr().err
