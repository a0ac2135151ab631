"""Run folders: nothing finished is lost, nothing is made up, whatever happens to disk, process or file."""

import json
import multiprocessing
import os
import resource
import signal
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airbench.analysis.summary import listing_rows, summarize_run, summary_rows
from airbench.analysis.verify import verify
from airbench.cli import main
from airbench.recipe import load_recipe
from airbench.runs import RunFolder, RunFolderError, find_runs, read_run
from tests.analysis.fake_runs import fake_run, trial_line
from tests.conftest import tiny


def create(root: Path) -> RunFolder:
    return RunFolder.create(root, tiny().recipe, {"seed": 0, "trials_planned": 5})


def indices(folder: RunFolder) -> list[int]:
    return [t.index for t in read_run(folder.path).trials]


def test_stored_recipe_trains_again_as_it_is(tmp_path: Path) -> None:
    folder = create(tmp_path)
    assert load_recipe(folder.path / "recipe.yaml").recipe == tiny().recipe


def test_folders_of_one_second_differ(tmp_path: Path) -> None:
    assert len({create(tmp_path).path for _ in range(5)}) == 5


def test_lines_come_back_and_a_cut_one_is_a_problem_not_a_trial(tmp_path: Path) -> None:
    folder = create(tmp_path)
    folder.append_trial(trial_line(0, 0.94))
    with open(folder.path / "trials.jsonl", "a") as file:
        file.write('{"trial": 1, "status": "fini')
    folder.append_trial(trial_line(2, 0.95))
    run = read_run(folder.path)
    assert [(t.index, t.accuracy) for t in run.trials] == [(0, 0.94), (2, 0.95)]
    assert run.problems == ("trials.jsonl:2: not a trial (incomplete or damaged)",)
    assert run.missing == [1, 3, 4]


def _write_until_killed(path: Path) -> None:
    folder = RunFolder(path)
    trial = 0
    while True:
        folder.append_trial(trial_line(trial, 0.94, filler="x" * 20_000))
        trial += 1


def test_kill_at_any_moment_loses_no_finished_trial(tmp_path: Path) -> None:
    folder = create(tmp_path)
    process = multiprocessing.get_context("spawn").Process(target=_write_until_killed, args=(folder.path,))
    process.start()
    while len(indices(folder)) < 5:
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    found = indices(folder)
    assert found == list(range(len(found)))
    assert len(found) >= 5


def _write_until_full(path: Path, limit: int) -> None:
    """Files of this process cannot grow beyond ``limit`` bytes: a disk that is full, as far as it can tell."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    folder = RunFolder(path)
    for trial in range(100):
        try:
            folder.append_trial(trial_line(trial, 0.94))
        except RunFolderError as error:
            (path / "said.txt").write_text(str(error))
            return


def test_full_disk_keeps_what_is_there_and_prints_what_is_not(tmp_path: Path) -> None:
    folder = create(tmp_path)
    process = multiprocessing.get_context("spawn").Process(target=_write_until_full, args=(folder.path, 2000))
    process.start()
    process.join()
    run = read_run(folder.path)
    kept = [t.index for t in run.trials]
    assert kept == list(range(len(kept)))
    assert len(kept) >= 2
    assert run.problems == ()
    said = (folder.path / "said.txt").read_text()
    assert "\n" not in said
    assert f'"trial": {len(kept)}' in said
    assert "airbench resume" in said
    folder.append_trial(trial_line(len(kept), 0.95))  # there is room again
    assert indices(folder)[-1] == len(kept)


def _append(path: Path, first: int) -> None:
    for trial in range(first, first + 20):
        RunFolder(path).append_trial(trial_line(trial, 0.94))


def test_two_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    folder = create(tmp_path)
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_append, args=(folder.path, first)) for first in (0, 20)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert indices(folder) == list(range(40))


def test_a_folder_in_use_is_not_trained_into(tmp_path: Path) -> None:
    folder = create(tmp_path)
    with folder.locked(), pytest.raises(RunFolderError, match="another process"), RunFolder(folder.path).locked():
        pass
    with folder.locked():
        pass


def test_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunFolderError, match="cannot create a run folder there"):
        create(tmp_path / "file")
    with pytest.raises(RunFolderError, match="not a run folder"):
        read_run(tmp_path / "gone")


def test_future_format_is_said_and_its_facts_are_not_believed(tmp_path: Path) -> None:
    run = fake_run(tmp_path / "a", [0.94], format=99)
    assert run.facts == {}
    assert "format 99" in run.problems[0]


def test_runs_are_found_newest_first_damaged_ones_too(tmp_path: Path) -> None:
    for name in ("20260101-000000-a", "20260301-000000-b", "20260201-000000-c"):
        fake_run(tmp_path / name, [0.94])
    (tmp_path / "20260201-000000-c" / "run.json").unlink()
    (tmp_path / "notes").mkdir()
    assert [p.name[9:] for p in find_runs(tmp_path)] == ["000000-b", "000000-c", "000000-a"]


LINES = st.one_of(
    st.binary(max_size=60),
    st.sampled_from([trial_line(i, 0.9 + i / 100) for i in range(4)]).map(lambda row: json.dumps(row).encode()),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["trial", "seed", "seeds", "status", "accuracy", "seconds", "epochs"]), inner
            )
        ),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode()),
)


FACTS = st.one_of(
    st.binary(max_size=80),
    st.dictionaries(
        st.sampled_from(
            ["format", "trials_planned", "seed", "data", "source", "environment", "flop", "peak", "steps", "resumed"]
        ),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=2)
                | st.dictionaries(st.sampled_from(["changed", "packages", "trial", "device", "git_commit"]), inner)
            ),
            max_leaves=6,
        ),
    ).map(lambda value: json.dumps(value).encode()),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(LINES, max_size=8), st.integers(0, 30), FACTS, FACTS)
def test_reader_never_crashes_and_never_invents_a_trial(
    tmp_path: Path, lines: list[bytes], cut: int, facts: bytes, recipe: bytes
) -> None:
    folder = tmp_path / "run"
    folder.mkdir(exist_ok=True)
    content = b"\n".join(lines)
    content = content[: len(content) - cut]
    (folder / "trials.jsonl").write_bytes(content)
    (folder / "run.json").write_bytes(facts)
    (folder / "recipe.yaml").write_bytes(recipe)
    run = read_run(folder)
    verify(run, 0.94)
    summary_rows([run])
    listing_rows([run])
    summarize_run(run)
    whole = {json.dumps(trial_line(i, 0.9 + i / 100)).encode() for i in range(4)}
    written = {json.loads(line)["trial"] for line in content.split(b"\n") if line in whole}
    assert {t.index for t in run.trials} == written
    assert all(t.accuracy == pytest.approx(0.9 + t.index / 100) for t in run.trials)


def test_lines_that_lost_their_hashes_are_damage(tmp_path: Path) -> None:
    folder = create(tmp_path)
    for trial in range(3):
        folder.append_trial(trial_line(trial, 0.94))
    file = folder.path / "trials.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    rows[1] = {key: value for key, value in rows[1].items() if not key.endswith("sha256")}
    rows[0]["accuracy"] = 0.974  # which nothing would notice if a missing hash switched the checks off
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_run(folder.path).problems == (
        "trials.jsonl: some lines have hashes and others have none; it was changed",
    )
    file.write_text("".join(json.dumps(trial_line(trial, 0.94)) + "\n" for trial in range(3)))
    assert read_run(folder.path).problems == ()  # written before there were hashes


def test_a_folder_whose_trials_are_gone_is_not_begun_anew(tmp_path: Path) -> None:
    folder = create(tmp_path)
    (folder.path / "trials.jsonl").unlink()
    with pytest.raises(RunFolderError, match="not writable"), folder.locked():
        pass
    assert not (folder.path / "trials.jsonl").exists()


def test_a_trial_that_cannot_be_written_is_printed_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = trial_line(0, 0.94, filler="x" * 10_000)
    folder = create(tmp_path)
    (folder.path / "run.json").write_text("{")

    monkeypatch.setattr("airbench.cli.runs.find_runs", lambda _: folder.append_trial(line))
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(["runs"]) == 2
    printed = capsys.readouterr().err.strip()
    assert json.loads(printed.partition("the finished trial was: ")[2]) == line
