"""What a newcomer reads around the trials: every column, the result as compare gives it, commands that work."""

import shlex
from pathlib import Path

import pytest

from airbench.analysis.compare import compare_runs
from airbench.analysis.summary import summary_rows
from airbench.cli import build_parser, main
from airbench.cli.explain import head_lines, result_lines
from airbench.data.dataset import Dataset
from airbench.experiment.terminal import COLUMNS
from airbench.recipe import load_recipe
from airbench.runs import RunRecord, read_run
from tests.analysis.fake_runs import fake_run
from tests.conftest import TINY


def runs(tmp_path: Path, *accuracies: list[float]) -> list[RunRecord]:
    return [
        fake_run(tmp_path / f"run-{i}", found, overrides=[f"name=recipe-{i}"]) for i, found in enumerate(accuracies)
    ]


@pytest.mark.parametrize("second", [[0.93, 0.931, 0.932], [0.941, 0.949, 0.939]])
def test_the_result_is_what_compare_says(second: list[float], tmp_path: Path) -> None:
    pair = runs(tmp_path, [0.94, 0.941, 0.942], second)
    verdict = compare_runs(pair)[0].verdict
    assert result_lines(pair, explain=False) == [f"result: {verdict}"]
    explained = result_lines(pair, explain=True)
    assert f"result: {verdict}" in explained
    claims = [line for line in explained if "more accurate than" in line]
    assert len(claims) == ("is more accurate than" in verdict)
    untold = any("cannot tell which is more accurate" in line for line in explained)
    assert untold == verdict.startswith("inconclusive")


def test_training_that_nothing_can_be_said_of_has_ended_well_all_the_same(tmp_path: Path) -> None:
    """Two recipes may be one but for the name: each of their trials is the other's, so compare refuses them."""
    pair = runs(tmp_path, [0.94, 0.941], [0.94, 0.941])
    lines = Path(pair[0].path / "trials.jsonl").read_bytes()
    (pair[1].path / "trials.jsonl").write_bytes(lines)
    (last,) = result_lines([read_run(run.path) for run in pair], explain=False)
    assert "hold the same trial" in last


def test_one_run_and_three_have_no_result_in_a_sentence(tmp_path: Path) -> None:
    three = runs(tmp_path, [0.94, 0.941], [0.93, 0.931], [0.92, 0.921])
    for some in (three[:1], three):
        assert result_lines(some, explain=False) == []
        assert not any(line.startswith("result:") for line in result_lines(some, explain=True))


def test_a_run_without_a_finished_trial_is_compared_with_nothing(tmp_path: Path) -> None:
    pair = runs(tmp_path, [0.94, 0.941], [])
    assert result_lines(pair, explain=False) == []
    assert result_lines(pair, explain=True)


def test_every_column_is_explained(tmp_path: Path) -> None:
    pair = runs(tmp_path, [0.94, 0.941], [0.93, 0.931])
    text = "\n".join(result_lines(pair, explain=True))
    for column in (*COLUMNS[1:], *summary_rows(pair)[0][1:], "difference"):
        assert f" {column}" in text, column


def test_the_commands_to_go_on_with_are_understood(tmp_path: Path) -> None:
    lines = result_lines(runs(tmp_path, [0.94, 0.941], [0.93, 0.931]), explain=True)
    commands = [line for line in lines[lines.index("Next:") + 1 :] if line.startswith("  ") and line[2] != " "]
    assert len(commands) == 4
    for command in commands:
        words = shlex.split(command)
        arguments = words[words.index("airbench") + 1 :] if "airbench" in words else words[1:]
        if "--help" not in arguments:
            build_parser().parse_args(arguments)


def test_the_head_names_each_recipe_and_what_is_trained() -> None:
    recipes = [load_recipe(name) for name in ("quickstart", "quickstart_sgd")]
    lines = head_lines(recipes, 2, 5)
    assert [line.split()[0] for line in lines[:2]] == ["quickstart", "quickstart_sgd"]
    assert "Muon" in lines[0]
    assert "SGD" in lines[1]
    assert lines[2].startswith("2 trials of each recipe, in turn, seeds 5 to 6: ")
    assert all(len(line) <= 100 for line in lines)
    assert head_lines(recipes[:1], 1, 0)[1].startswith("one trial, seed 0: ")


def test_only_who_asks_is_told(few_shapes: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", "airbench94_muon", *TINY, "train.epochs=1", "--out", str(tmp_path)]
    assert main(command) == 0
    assert "Next:" not in capsys.readouterr().out
    assert main([*command, "--explain"]) == 0
    out = capsys.readouterr().out
    assert out.index("one trial, seed 0") < out.index("tta_acc") < out.index("Next:")
    assert len([read_run(path) for path in tmp_path.iterdir()]) == 2
