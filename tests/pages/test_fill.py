"""Marked blocks of pages: filled from runs, with the numbers that the statistics give, and nothing else touched."""

import itertools
import json
import shutil
import statistics
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airbench.analysis.statistics import summarize, welch
from airbench.cli import main
from airbench.errors import AirbenchError
from airbench.pages import fill_page
from airbench.pages.blocks import replace_blocks
from airbench.pages.scatter import neighbours
from tests.analysis.fake_runs import failed_line, fake_run

A, B = [0.9398, 0.9412, 0.9405], [0.9371, 0.9383, 0.9390, 0.9366]
TABLE = """\
Before.

<!-- airbench table
columns: [recipe, n, accuracy, interval, seconds, times, pflop, difference, lead: a's lead, note]
rows:
- {run: a, id: a, note: the first}
- {run: b, recipe: "theirs, longer", against: a, timed_against: a}
-->
<!-- end airbench -->

After.
"""


def fill(page: Path) -> str:
    return fill_page(page, page.read_text(), lambda words: f"ran {' '.join(words)}\n")


@pytest.fixture
def page(tmp_path: Path) -> Path:
    fake_run(tmp_path / "a", A, seconds=[10.0, 11.0, 12.0])
    fake_run(tmp_path / "b", B, seconds=[22.0, 22.0, 22.0, 22.0])
    (tmp_path / "page.md").write_text(TABLE)
    return tmp_path / "page.md"


def cells(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in text.splitlines() if line.startswith("|")]


def test_a_table_has_the_numbers_of_its_runs(page: Path) -> None:
    head, _, a, b = cells(fill(page))
    assert head[:2] == ["recipe", "n"]
    assert head[-2:] == ["a's lead", "note"]
    assert a[:3] == ["[airbench94_muon](a)", "3", f"{statistics.fmean(A):.2%} ± {statistics.stdev(A):.2%}"]
    s = summarize(A)
    assert a[3:] == [f"{s.low:.2%} to {s.high:.2%}", "11.0", "", "0.292", "", "", "the first"]
    d = welch(B, A)
    assert b[0] == "[theirs](b), longer"
    assert b[4:6] == ["22.0", "2.00"]
    assert b[7] == f"{d.difference:+.2%} ({d.low:+.2%} to {d.high:+.2%})"
    assert b[8] == f"{-d.difference:+.2%} ({-d.high:+.2%} to {-d.low:+.2%})"


def test_intervals_of_several_differences_hold_jointly(page: Path) -> None:
    fake_run(page.parent / "c", [0.93, 0.931])
    page.write_text(page.read_text().replace("-->\n", "- {run: c, against: a}\n-->\n", 1))
    *_, b, c = cells(fill(page))
    for row, values in ((b, B), (c, [0.93, 0.931])):
        d = welch(values, A, 2)
        assert row[7] == f"{d.difference:+.2%} ({d.low:+.2%} to {d.high:+.2%})"


def test_filling_again_changes_nothing_and_what_is_around_stays(page: Path) -> None:
    once = fill(page)
    page.write_text(once)
    assert fill(page) == once
    assert once.startswith("Before.\n\n<!-- airbench table\n")
    assert once.endswith("<!-- end airbench -->\n\nAfter.\n")


def test_a_changed_number_is_found(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fill", str(page)]) == 0
    assert main(["fill", "--check", str(page)]) == 0
    page.write_text(page.read_text().replace("94.05%", "94.06%"))
    assert main(["fill", "--check", str(page)]) == 1
    assert "94.06%" in page.read_text()  # --check changes nothing
    assert "out of date" in capsys.readouterr().out


def test_trials_of_several_runs_are_pooled_without_their_seconds(page: Path) -> None:
    fake_run(page.parent / "c", [0.95, 0.951], seconds=[1.0, 1.0])
    page.write_text(
        "<!-- airbench table\ncolumns: [n, accuracy, seconds]\nrows: [{run: [a, c]}]\n-->\n<!-- end airbench -->"
    )
    assert cells(fill(page))[2] == [
        "5",
        f"{statistics.fmean([*A, 0.95, 0.951]):.2%} ± {statistics.stdev([*A, 0.95, 0.951]):.2%}",
        "",
    ]


@pytest.mark.parametrize("other_code", [False, True])
def test_runs_of_different_recipes_are_not_pooled(other_code: bool, page: Path) -> None:
    """Also where a whole section is absent in one of them."""
    source = {"sha256": "another" if other_code else "s"}
    fake_run(page.parent / "with", A, recipe="airbench94")
    fake_run(page.parent / "without", A, recipe="airbench94", overrides=["lookahead=null"], source=source)
    page.write_text("<!-- airbench table\ncolumns: [n]\nrows: [{run: [with, without]}]\n-->\n<!-- end airbench -->")
    with pytest.raises(AirbenchError, match="so they cannot be pooled"):
        fill(page)


def test_lines_of_a_file_of_trials_are_chosen_by_their_keys(page: Path) -> None:
    line = {"recipe": "airbench94_muon", "overrides": [], "steps": 200, "plain": 0.93, "seconds": 1.5}
    lines = [{**line, "gpu": gpu, "accuracy": a} for gpu, a in (("x", 0.94), ("x", 0.941), ("y", 0.95))]
    (page.parent / "trials.jsonl").write_text("\n".join(map(json.dumps, lines)))
    page.write_text(
        "<!-- airbench table\ncolumns: [recipe, n, accuracy, pflop]\n"
        "rows: [{trials: trials.jsonl, where: {gpu: x}}]\n-->\n<!-- end airbench -->"
    )
    assert cells(fill(page))[2] == ["airbench94_muon", "2", "94.05% ± 0.07%", "0.292"]  # counted from the recipe


def test_a_figure_says_in_words_what_it_shows(page: Path) -> None:
    page.write_text(
        "<!-- airbench scatter\nfile: front.svg\nx: seconds\n"
        "rows: [{run: a, recipe: a < b, published_accuracy: 0.94}, {run: b, ours: yes}]\n-->\n<!-- end airbench -->"
    )
    text = fill(page)
    s = summarize(A)
    told = f"a < b: {s.mean:.2%} ({s.low:.2%} to {s.high:.2%}), n = 3, 11 s (10 to 12), published 94.00%"
    assert told in text
    assert "](front.svg)" in text
    root = ET.parse(page.parent / "front.svg").getroot()
    description = root.find("{http://www.w3.org/2000/svg}desc")
    assert description is not None
    assert description.text is not None
    assert description.text.startswith(told)
    assert f"![Mean accuracy. {description.text}]" in text


def test_a_figure_may_have_a_second_panel(page: Path) -> None:
    beside = "beside: {x: seconds, rows: [{run: a, recipe: on a clock}]}"
    block = (
        f"<!-- airbench scatter\nfile: front.svg\nx: pflop\nrows: [{{run: b}}]\n{beside}\n-->\n<!-- end airbench -->"
    )
    page.write_text(block)
    text = fill(page)
    assert "PFLOP; on a clock: " in text
    assert "n = 3, 11 s (10 to 12)](front.svg)" in text
    figure = (page.parent / "front.svg").read_text()
    assert "median seconds of a trial" in figure
    page.write_text(block.replace("x: seconds", "x: pflop"))
    with pytest.raises(AirbenchError, match="both panels have pflop as x"):
        fill(page)


def test_a_figure_that_is_missing_or_says_something_else_is_found(page: Path) -> None:
    block = "<!-- airbench scatter\nfile: front.svg\nx: seconds\nrows: [{run: a, published_accuracy: 0.94}]\n-->\n"
    page.write_text(f"{block}<!-- end airbench -->")
    assert main(["fill", str(page)]) == 0
    assert main(["fill", "--check", str(page)]) == 0
    figure = page.parent / "front.svg"
    figure.write_text(figure.read_text().replace("94.00%", "95.00%"))
    assert main(["fill", "--check", str(page)]) == 1
    figure.unlink()
    assert main(["fill", "--check", str(page)]) == 1


def test_output_is_what_the_command_prints(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(page.parent)
    page.write_text("<!-- airbench output\ncommand: airbench compare a b\n-->\n<!-- end airbench -->")
    assert "```\n$ airbench compare a b\nran compare a b\n```" in fill(page)


def test_an_index_lists_every_run(page: Path) -> None:
    fake_run(page.parent / "sweep" / "one", [0.9])
    fake_run(page.parent / "sweep" / "two", [0.9])
    page.write_text("<!-- airbench index\nfolder: .\n-->\n<!-- end airbench -->")
    rows = cells(fill(page))[2:]
    assert [row[0] for row in rows] == ["[a](a)", "[b](b)", "[sweep](sweep), 2 runs"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("id: a, ", ""), "no row of the table has id: a"),
        (("{run: b,", "{run: b, id: a,"), "id: a: two rows"),
        (("note: the first", "notes: the first"), "page.md: notes: no column of the table"),
        (("note: the first", "pflop: '1'"), "pflop is computed from trials"),
        (("run: a, id", "run: nowhere, id"), "not a run folder"),
        (("columns: [", "colums: ["), "page.md:4: colums"),
        (("accuracy, interval", "acuracy, interval"), "column acuracy is not computed, and no row has it; did you"),
        (("rows:", "comparisons: 0\nrows:"), "page.md:5: comparisons = 0"),
        (("<!-- airbench table", "<!-- airbench table "), "page.md:3: <!-- airbench table : begins or ends no block"),
        (("<!-- airbench table", "<!-- airbench: table"), "page.md:3: <!-- airbench: table: begins or ends no block"),
        (("airbench table", "airbench tabel"), "page.md:3: tabel: no such kind of block"),
        (("<!-- end airbench -->", ""), "page.md:3: the block does not end"),
        (("\n-->\n", "\n"), "page.md:3: its comment does not end"),
    ],
)  # fmt: skip
def test_a_mistake_is_answered_in_one_line(
    page: Path, change: tuple[str, str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    page.write_text(page.read_text().replace(*change))
    before = page.read_text()
    assert main(["fill", str(page)]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert len(printed.splitlines()) == 1
    assert page.read_text() == before


@pytest.mark.parametrize(
    "command",
    [
        "airbench train quickstart",
        "airbench compare quickstart quickstart_sgd",
        "airbench compare a b --plugin evil.py",
        "airbench verify a --rerun 1",
        "airbench compare a b --out elsewhere",
        "echo a",
        'airbench compare "a',
    ],
)
def test_a_page_can_show_only_what_is_there(
    page: Path, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(page.parent)
    page.write_text(f"<!-- airbench output\ncommand: {json.dumps(command)}\n-->\n<!-- end airbench -->")
    assert main(["fill", "page.md"]) == 2
    assert capsys.readouterr().err.startswith(f"airbench: page.md:1: command = {command}: ")


def test_an_option_that_a_command_lacks_is_answered_in_one_line(
    page: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(page.parent)
    page.write_text("<!-- airbench output\ncommand: airbench compare a b --std 1\n-->\n<!-- end airbench -->")
    assert main(["fill", "page.md"]) == 2
    assert "unrecognized arguments: --std" in capsys.readouterr().err


def test_runs_of_other_settings_are_not_pooled(page: Path) -> None:
    fake_run(page.parent / "c", [0.95, 0.951], overrides=["train.epochs=4"])
    page.write_text("<!-- airbench table\ncolumns: [n]\nrows: [{run: [a, c]}]\n-->\n<!-- end airbench -->")
    with pytest.raises(AirbenchError, match="cannot be pooled"):
        fill(page)


def test_copies_of_one_trial_have_no_interval(page: Path) -> None:
    fixed = [f"seeds.{stream}=1" for stream in ("init", "order", "augment")]
    fake_run(page.parent / "c", [0.93, 0.931], overrides=fixed)
    page.write_text(page.read_text().replace("run: b", "run: c"))
    assert cells(fill(page))[3][7] == f"{0.9305 - statistics.fmean(A):+.2%}"


def test_a_trial_is_not_compared_with_itself(page: Path) -> None:
    shutil.copytree(page.parent / "a", page.parent / "copy")
    page.write_text(page.read_text().replace("run: b", "run: copy"))
    with pytest.raises(AirbenchError, match="same trial"):
        fill(page)


def test_seconds_of_unlike_machines_are_not_compared(page: Path) -> None:
    fake_run(page.parent / "c", B, environment={"device": "Another", "precision": "bf16"})
    page.write_text(page.read_text().replace("run: b", "run: c"))
    with pytest.raises(AirbenchError, match="differ in their device"):
        fill(page)


def test_a_line_that_is_no_trial_is_named(page: Path) -> None:
    (page.parent / "trials.jsonl").write_text('{"recipe": "hiverge"}\n')
    page.write_text("<!-- airbench table\ncolumns: [n]\nrows: [{trials: trials.jsonl}]\n-->\n<!-- end airbench -->")
    with pytest.raises(AirbenchError, match=r"trials\.jsonl:1: not a trial: it lacks overrides"):
        fill(page)


def test_a_damaged_run_is_refused(page: Path) -> None:
    trials = page.parent / "a" / "trials.jsonl"
    trials.write_text(trials.read_text().replace("0.9398", "0.9598"))
    with pytest.raises(AirbenchError, match="changed"):
        fill(page)


TEXT = ["", "text", "| a | b |", "<!-- other -->", "-->"]
CODE = ["```", "<!-- airbench table", "x: 1", "-->", "<!-- end airbench -->", "```"]
LINES = st.lists(st.sampled_from([[line] for line in TEXT] + [CODE]), max_size=8).map(
    lambda parts: [*itertools.chain(*parts)]
)


@given(LINES, st.lists(st.sampled_from([*TEXT, "```"]), max_size=8), LINES)
def test_text_outside_of_blocks_is_kept(before: Sequence[str], inside: Sequence[str], after: Sequence[str]) -> None:
    block = ["<!-- airbench table", "x: 1", "-->", *inside, "<!-- end airbench -->"]
    text = "\n".join([*before, *block, *after])
    found = replace_blocks(Path("page.md"), text, lambda block: f"{block.kind} at {block.line}")
    filled = ["<!-- airbench table", "x: 1", "-->", "", f"table at {len(before) + 1}", "", "<!-- end airbench -->"]
    assert found == "\n".join([*before, *filled, *after])


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=8))
def test_neighbours_are_a_partition_in_which_what_is_near_is_together(points: list[tuple[float, float]]) -> None:
    groups = neighbours(points, near=0.2)
    assert sorted(i for group in groups for i in group) == list(range(len(points)))
    spans = [max(values) - min(values) or 1.0 for values in zip(*points, strict=True)]
    group_of = {i: number for number, group in enumerate(groups) for i in group}
    for i, a in enumerate(points):
        for j, b in enumerate(points):
            if all(abs(x - y) < 0.2 * span for x, y, span in zip(a, b, spans, strict=True)):
                assert group_of[i] == group_of[j]


def test_studies_are_shown_with_what_was_seen(page: Path) -> None:
    study = {"study": "decay", "settings": {}, "seen": "It decays.", "results": []}
    (page.parent / "decay.json").write_text(json.dumps(study))
    page.write_text("<!-- airbench studies\nfolder: .\n-->\n<!-- end airbench -->")
    text = fill(page)
    assert "## decay\n\nIt decays. ([numbers](decay.json))" in text
    assert "](decay.png)" in text
    (page.parent / "other.json").write_text("{}")
    with pytest.raises(AirbenchError, match=r"other\.json: not the numbers of a study"):
        fill(page)


def test_runs_on_other_images_are_neither_compared_nor_pooled(page: Path) -> None:
    data = {"name": "cifar10", "test_fingerprint": "other"}
    fake_run(page.parent / "c", [0.93, 0.931], data=data)
    page.write_text(page.read_text().replace("-->\n", "- {run: c, against: a}\n-->\n", 1))
    with pytest.raises(AirbenchError, match="differ in their images"):
        fill(page)
    page.write_text("<!-- airbench table\ncolumns: [n]\nrows: [{run: [a, c]}]\n-->\n<!-- end airbench -->")
    with pytest.raises(AirbenchError, match="cannot be pooled"):
        fill(page)


def test_a_bar_in_a_cell_does_not_end_it(page: Path) -> None:
    page.write_text(page.read_text().replace("the first", '"a | b"'))
    assert "| a \\| b |" in fill(page)


def test_failed_trials_are_in_the_cells_of_what_is_claimed(page: Path) -> None:
    fake_run(page.parent / "c", [0.93, 0.931], lines=[failed_line(2), failed_line(3)], overrides=["train.epochs=4"])
    page.write_text(
        """\
<!-- airbench table
columns: [recipe, n, accuracy, interval, difference, lead]
rows:
- {run: a, id: a}
- {run: c, against: a}
-->
<!-- end airbench -->
"""
    )
    whole, broken = cells(fill(page))[-2:]
    assert "failed" not in "".join(whole)
    _, n, accuracy, interval, difference, lead = broken
    assert n == "2, 2 failed"
    assert accuracy.endswith("; 2 of 4 failed")
    assert interval.endswith("; 2 of 4 failed")
    assert difference.endswith("; 2 of 7 failed")
    assert lead.endswith("; 2 of 7 failed")
