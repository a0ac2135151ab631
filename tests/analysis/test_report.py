"""The report: self-contained, well-formed, true to the runs; opened in a real browser where there is one."""

import csv
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from airbench.analysis.compare import compare_runs, warnings
from airbench.analysis.labels import labels
from airbench.analysis.report import write_report
from airbench.analysis.report.figures import pareto_front
from airbench.analysis.report.html import html_report
from airbench.analysis.report.order import best_first
from airbench.analysis.report.provenance import provenance_html, reproduce_command
from airbench.analysis.report.tables import markdown_report
from airbench.cli import main
from airbench.errors import AirbenchError
from airbench.runs import RunRecord
from tests.analysis.fake_runs import failed_line, fake_run
from tests.analysis.pages import check_page

SCRIPT = "description=<script>alert(1)</script>"


@pytest.fixture
def runs(tmp_path: Path) -> list[RunRecord]:
    return [
        fake_run(tmp_path / "20260101-a", [0.9412, 0.9405, 0.9409], spectra=True),
        fake_run(tmp_path / "20260102-b", [0.9352, 0.9361, 0.9349], recipe="airbench94", seconds=[40.0, 41.0, 42.0]),
        fake_run(tmp_path / "20260103-c", [0.93], recipe="airbench94", overrides=[SCRIPT]),
    ]


def test_page_is_well_formed_self_contained_and_complete(runs: list[RunRecord]) -> None:
    page = html_report(runs)
    check_page(page)
    for part in ("airbench94_muon", "94.09%", "prefers-color-scheme", "PFLOP", "--trials 3 --seed 0", "viewport"):
        assert part in page


def test_runs_of_one_name_are_told_apart(runs: list[RunRecord]) -> None:
    leaderboard = html_report(runs).split("<h2")[1]
    for label in labels(runs):
        assert f"</span>{label}</td>" in leaderboard


def test_every_run_with_spectra_can_be_chosen_and_one_is_shown(tmp_path: Path) -> None:
    runs = [
        fake_run(tmp_path / "a", [0.94, 0.95], spectra=True),
        fake_run(tmp_path / "b", [0.93, 0.92], seed=3, spectra=True),
        fake_run(tmp_path / "c", [0.91, 0.92], recipe="airbench94"),
        fake_run(tmp_path / "d", [0.5, 0.6], recipe="airbench95", spectra=True, data={"test_fingerprint": "other"}),
    ]
    page = html_report(runs)
    check_page(page)
    assert page.count("Momentum spectra</h2>") == 1
    choices = re.findall(
        r'<input type="radio" name="(\w+)" id="([\w-]+)"( checked)?><label for="([\w-]+)">([^<]+)', page
    )
    assert {name for name, *_ in choices} == {"spectra"}
    assert [name == label for _, name, _, label, _ in choices] == [True] * 3
    assert [bool(checked) for _, _, checked, _, _ in choices] == [True, False, False]
    assert {label for *_, label in choices} == set(labels(runs)) - {"airbench94"}
    assert "Spectra of" not in html_report(runs[2:3])


def test_many_comparisons_are_folded_and_those_that_claim_something_are_not(tmp_path: Path) -> None:
    means = [0.90, 0.91, 0.92, 0.93, 0.94, 0.95]
    runs = [fake_run(tmp_path / f"r{i}", [m, m + 0.0002, m + 0.0004], seed=10 * i) for i, m in enumerate(means)]
    page = html_report(runs)
    shown, folded = page.split("Comparisons on cifar10</h2>")[1].split("<details><summary>All 15 comparisons")
    assert "15 of 15 pairs differ" in shown
    assert shown.count("is more accurate than") == folded.count("is more accurate than") == 15


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
_MEASURE = """<!doctype html><body><iframe style="width:{width}px; height:900px; border:0"></iframe><script>
const frame = document.querySelector("iframe");
frame.onload = () => {{
  const page = frame.contentDocument, over = (e) => e.scrollWidth - e.clientWidth;
  const cut = [page.documentElement, ...page.querySelectorAll(".wide")].map(over);
  const hidden = [...page.querySelectorAll(".tabs > div")].filter((e) => !e.checkVisibility()).length;
  document.body.dataset.found = `cut ${{Math.max(...cut)}} hidden ${{hidden}}`;
}};
frame.srcdoc = {page};
</script>"""


def in_browser(page: str, width: int, folder: Path) -> str:
    """What a browser finds in a page of this width: how many pixels are cut off, and how many tabs are hidden."""
    file = folder / f"measure-{width}.html"
    file.write_text(_MEASURE.format(width=width, page=json.dumps(page).replace("</", "<\\/")))
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--disable-quic", "--no-first-run", "--dump-dom",
        f"--user-data-dir={folder / 'profile'}", f"--window-size={max(width, 500)},900",
        "--virtual-time-budget=10000", file.as_uri(),
    ]  # fmt: skip
    printed = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    found = re.search(r'data-found="([^"]*)"', printed)
    assert found is not None
    return found[1]


@pytest.mark.skipif(not CHROMIUM, reason="no chromium here")
@pytest.mark.parametrize("width", [1280, 1000, 390])
def test_nothing_is_cut_off_in_a_browser(width: int, tmp_path: Path) -> None:
    facts = {"environment": {"device": "Intel(R) Xeon(R) Platinum 8488C, 2 threads", "precision": "fp32"}}
    runs = [
        fake_run(tmp_path / "a", [0.9412, 0.9405, 0.9409], spectra=True, seed=1000),
        fake_run(tmp_path / "b", [0.9352, 0.9361, 0.9349], seed=2000, spectra=True, **facts),
        fake_run(tmp_path / "c", [0.9352, 0.9361, 0.9359], recipe="airbench94", overrides=["name=" + "long_name_" * 4]),
    ]
    assert in_browser(html_report(runs), width, tmp_path) == "cut 0 hidden 1"


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


def test_markdown_warns_of_what_a_page_warns_of(tmp_path: Path) -> None:
    broken = fake_run(tmp_path / "a", [0.94, 0.941], lines=[failed_line(2)], source={"sha256": "other"})
    pair = [broken, fake_run(tmp_path / "b", [0.93, 0.931], recipe="airbench94")]
    text = markdown_report(pair)
    for warning in warnings(best_first(pair)):
        assert warning in text
    assert "1 trial failed" in text
    assert "differ in code" in text


def test_of_two_runs_with_one_trial_in_common_the_larger_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = tmp_path / "runs" / "20260101-000000-old", tmp_path / "runs" / "20260102-000000-new"
    fake_run(old, [0.94, 0.941, 0.942])
    shutil.copytree(old, new)
    first, *_ = (old / "trials.jsonl").read_text().splitlines(keepends=True)
    (new / "trials.jsonl").write_text(first)
    monkeypatch.chdir(tmp_path)
    assert main(["report", "--out", "report.html"]) == 0
    assert f"{Path('runs') / old.name} and" in capsys.readouterr().err
    page = Path("report.html").read_text()
    assert old.name in page
    assert new.name not in page


def test_a_run_with_a_plugin_is_repeated_with_it(tmp_path: Path) -> None:
    source = {
        "sha256": "s",
        "git_commit": "c" * 40,
        "committed": False,
        "note": "a plugin",
        "plugins": {"my net.py": "h"},
    }
    run = fake_run(tmp_path / "a", [0.94, 0.941], source=source)
    assert reproduce_command(run).endswith("train.py recipe.yaml --plugin 'my net.py' --trials 2 --seed 0")
    page = provenance_html(run, "a")
    assert f"{'c' * 40} (a plugin)" in page
    assert "uncommitted" not in page
