"""The command line from outside: what it prints, what it leaves, what it exits with."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from airbench.cli import main
from airbench.data.dataset import Dataset
from airbench.errors import TrialError
from airbench.runs import find_runs, read_run
from airbench.training.loop import run_trial
from airbench.training.setup import TrialSetup
from airbench.training.warmup import warm_up
from tests.analysis.fake_runs import fake_run
from tests.conftest import CONFIGS, TINY

ROOT = CONFIGS.parent
MUON, SGD = str(CONFIGS / "records" / "airbench94_muon.yaml"), str(CONFIGS / "records" / "airbench94.yaml")


def test_training_two_recipes_in_turn(few_shapes: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["train", MUON, SGD, *TINY, "--trials", "2", "--seed", "5", "--out", str(tmp_path)])
    out = capsys.readouterr().out
    assert code == 0
    finals = [row.split()[:2] for row in out.splitlines() if " final " in row]
    assert finals == [["airbench94_muon", "0"], ["airbench94", "0"], ["airbench94_muon", "1"], ["airbench94", "1"]]
    assert "\r" not in out  # no bar where there is no terminal
    assert "94% missed" in out
    folders = sorted(p for p in tmp_path.iterdir())
    assert [f.name.split("-", 2)[2] for f in folders] == ["airbench94", "airbench94_muon"]
    for folder in folders:
        trials = [json.loads(row) for row in (folder / "trials.jsonl").read_text().splitlines()]
        assert [t["seed"] for t in trials] == [5, 6]
        assert all(len(t["epochs"]) == 2 for t in trials)
        run = json.loads((folder / "run.json").read_text())
        assert run["data"]["train_fingerprint"] == few_shapes.train.fingerprint
        assert set(run["routing"]) == {"filters", "whiten_bias", "biases", "head"}
        assert run["environment"]["packages"]["torch"]
        assert len(run["source"]["sha256"]) == 64
        assert json.loads((folder / "summary.json").read_text())["finished"] == 2


def test_overrides_may_stand_behind_options(few_shapes: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", MUON, "--trials", "2", "train.epochs=7", "--print-recipe"]) == 0
    assert "epochs: 7.0" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["train", MUON, "--trials", "2", "--bogus"])


def test_memory_that_runs_out_is_a_failed_trial(
    few_shapes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def exhausted(*_: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate memory: 1 bytes")

    monkeypatch.setattr("airbench.training.loop.fit", exhausted)
    assert main(["train", MUON, *TINY, "--out", str(tmp_path)]) == 1
    assert "out of memory: lower train.batch_size" in capsys.readouterr().out


def test_a_recipe_whose_warm_up_does_not_fit_into_memory_has_failed_and_the_others_go_on(
    few_shapes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    large = tmp_path / "large.yaml"
    large.write_text(f"extends: {MUON}\n")

    def exhausted(setup: TrialSetup) -> list[str]:
        if setup.recipe.name == "large":
            raise TrialError("out of memory: lower train.batch_size")
        return warm_up(setup)

    monkeypatch.setattr("airbench.experiment.worker.warm_up", exhausted)
    assert main(["train", str(large), MUON, *TINY, "--trials", "2", "--out", str(tmp_path / "runs")]) == 1
    assert capsys.readouterr().out.count("FAILED: out of memory: lower train.batch_size") == 2
    runs = {run.name: run for run in map(read_run, find_runs(tmp_path / "runs"))}
    assert [len(runs[name].failed) for name in ("large", "airbench94_muon")] == [2, 0]
    assert len(runs["airbench94_muon"].finished) == 2


def test_a_failed_trial_is_recorded_and_the_others_go_on(
    few_shapes: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = ["optimizers.head.lr=1e20", "train.epochs=20"]
    code = main(["train", SGD, *TINY, *bad, "--trials", "2", "--out", str(tmp_path)])
    assert code == 1
    (folder,) = tmp_path.iterdir()
    trials = [json.loads(row) for row in (folder / "trials.jsonl").read_text().splitlines()]
    assert [t["status"] for t in trials] == ["failed", "failed"]
    assert "lower lr" in trials[0]["reason"]
    assert "FAILED" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train", "nowhere.yaml"], "no such file"),
        (["train", MUON, "train.epoch=3"], "did you mean 'epochs'?"),
        (["train", "train.epochs=3"], "no recipe given"),
        (["train", "quickstart", ""], "an empty word among recipes"),
        (["compare", "quickstart", " "], "an empty word among recipes"),
        (["train", MUON, "--data", "/nowhere"], "/nowhere: no such file"),
        (["train", MUON, "--device", "tpu"], 'device = "tpu"'),
        (
            ["train", MUON, *TINY, "train.batch_size=50001"],
            "command line: train.batch_size = 50001: there are",
        ),
        (["train", MUON, *TINY, "optimizers.head.params=nothing"], "matches no trainable parameter"),
        (["train", MUON, *TINY, "--precision", "fp16"], "precision = fp16"),
        (
            ["train", MUON, *TINY, "data.augment.hole={name: cutout, size: 40}"],
            "command line: data.augment.hole: size = 40: the images are 32×32",
        ),
        (
            ["train", MUON, *TINY, "optimizers.filters.orthogonalize.split=3"],
            "command line: optimizers.filters.orthogonalize.split = 3: ",
        ),
        (
            ["train", MUON, *TINY, "train.selection={name: recorded_loss, drop: 0.01}"],
            "command line: train.selection.drop = 0.01: of a batch of 50 images",
        ),
        (["train", MUON, *TINY, "optimizers.filters.params=['*conv*.weight', whiten.bias]"], "muon trains matrices"),
        (["train", MUON, *TINY, "data.train_images=401"], "train_images = 401"),
        (["train", MUON, *TINY, "--data", "/x"], "has no effect on shapes"),
        (["train", MUON, *TINY, "net.widths=[" + "1," * 200 + "1]"], "at most 3"),
        (["train", MUON, "--data", "~nobody-of-this-name/x"], "home folder"),
        (["compare", MUON], "two or more recipes"),
        (["compare", MUON, "quickstart"], "data.name = cifar10 and quickstart shapes: evaluated on different images"),
        (["compare", "runs/typo", "runs/b"], "runs/typo: no such run"),
        (["compare", "speedrun", "spedrun"], "spedrun: no such run or recipe; did you mean speedrun?"),
        (["sweep", "tune_mun"], "tune_mun: no such sweep or recipe; did you mean tune_muon?"),
        (["time-to-target", "train.epochs=4"], "no recipe given"),
        (["time-to-target", MUON, *TINY], "one recipe and two or more lengths"),
        (["time-to-target", MUON, *TINY, "--epochs", "1,1"], "train.epochs = [1, 1]: 1 is listed twice"),
        (["time-to-target", MUON, *TINY, "--epochs", "1,2,1"], "1 is listed twice"),
        (["variance", MUON, *TINY, "--trials", "1"], "two or more trials"),
        (["variance", MUON, *TINY, "seeds.init=1"], "holds seeds fixed"),
        (["runs", "/nowhere"], "no such folder"),
        (["verify", "/nowhere"], "not a run folder"),
        (["data", "--data", "/nowhere"], "no such file"),
        (["data", "--import", "/nowhere"], "no such file"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(
    arguments: list[str], expected: str, few_shapes: Dataset, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    if arguments[0] in ("train", "time-to-target"):
        arguments = [*arguments, "--out", str(tmp_path)]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("airbench: ")
    assert error.count("\n") == 1
    assert expected in error
    assert list(tmp_path.iterdir()) == []


def test_print_recipe_prints_a_recipe_and_trains_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", MUON, "train.epochs=3", "--print-recipe", "--out", str(tmp_path)]) == 0
    printed = tmp_path / "printed.yaml"
    printed.write_text(capsys.readouterr().out)
    assert main(["train", str(printed), "--print-recipe"]) == 0
    assert capsys.readouterr().out == printed.read_text()
    assert "epochs: 3.0" in printed.read_text()


def test_data_says_where_images_come_from(few_shapes: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", str(CONFIGS / "quickstart.yaml")]) == 0
    out = capsys.readouterr().out
    assert "built-in" in out
    assert few_shapes.train.fingerprint in out


@pytest.mark.parametrize("door", [["train.py"], ["-m", "airbench", "train"]])
def test_help_needs_no_torch_and_explains(door: list[str]) -> None:
    blocked = "import sys; sys.modules['torch'] = None"
    run = "runpy.run_path('train.py', run_name='__main__')" if door == ["train.py"] else "runpy.run_module('airbench')"
    words = ["x", "--help"] if door == ["train.py"] else ["x", "train", "--help"]
    code = f"{blocked}; sys.argv = {words}; import runpy; {run}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for part in ("--trials", "--seed", "--print-recipe", "Timed:", "AIRBENCH_DATA"):
        assert part in done.stdout


def test_importing_airbench_loads_no_torch() -> None:
    code = "import sys, airbench, airbench.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_runs_verify_compare_report_on_a_real_run(
    few_shapes: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "runs"
    assert main(["compare", MUON, SGD, *TINY, "train.epochs=1", "--trials", "2", "--out", str(out)]) == 0
    assert "difference from airbench94_muon (95% interval):" in capsys.readouterr().out
    (out / "20200101-damaged").mkdir()
    (out / "20200101-damaged" / "run.json").write_text("{")
    assert main(["runs", str(out)]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert len(listed) == 4
    assert "damaged: run.json: cannot be read" in listed[3]
    assert main(["runs", str(out), "--match", "no such text"]) == 0
    assert "no runs with no such text in their path or name" in capsys.readouterr().out
    assert main(["runs", str(out), "--match", "94_muon"]) == 0
    assert [line.rpartition("-")[2] for line in capsys.readouterr().out.splitlines()[1:]] == ["airbench94_muon"]
    assert main(["runs", str(out), "--json"]) == 0
    assert [row["finished"] for row in json.loads(capsys.readouterr().out)] == [2, 2, 0]
    run = next(path for path in out.iterdir() if path.name.endswith("muon"))
    assert main(["verify", str(run), "--target", "0.5"]) == 1
    assert "genuine CIFAR-10: no" in capsys.readouterr().out
    monkeypatch.chdir(tmp_path)
    for form in ("html", "md", "csv"):
        assert main(["report", "--format", form]) == 0
        assert (tmp_path / f"report.{form}").stat().st_size > 100
    assert json.loads((run / "spectra.json").read_text())["groups.0.conv1.weight"]["after"]
    facts = json.loads((run / "run.json").read_text())
    assert facts["flop"]["trial"] > 0
    assert facts["peak"]["fp32_tflops"] > 0


def test_time_to_target_and_variance_train_what_they_need(
    few_shapes: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["time-to-target", MUON, *TINY, "--epochs", "1,2", "--trials", "2", "--target", "0.99", "--out"]
    assert main([*command, str(tmp_path / "a")]) == 0
    assert "does not reach 99.00% in 2 epochs" in capsys.readouterr().out
    assert len(list((tmp_path / "a").iterdir())) == 2
    assert main(["variance", MUON, *TINY, "train.epochs=1", "--trials", "2", "--out", str(tmp_path / "b")]) == 0
    out = capsys.readouterr().out
    for stream in ("init", "order", "augment"):
        assert f"{stream} held fixed" in out
    assert main(["variance", *(str(p) for p in sorted((tmp_path / "b").iterdir()))]) == 0


def test_power(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["power", "--difference", "0.001", "--std", "0.0015"]) == 0
    assert capsys.readouterr().out.startswith("37 trials of each recipe")
    with pytest.raises(SystemExit) as caught:
        main(["power", "--difference", "2", "--std", "0.1"])
    assert caught.value.code == 2


def test_tensorboard_writes_or_says_how_to_install_it(
    few_shapes: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["train", MUON, *TINY, "train.epochs=1", "--tensorboard", "--out", str(tmp_path)])
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        assert code == 2
        assert "pip install tensorboard" in capsys.readouterr().err
    else:
        assert code == 0
        assert list(tmp_path.glob("*/tensorboard/trial-0/events*"))


def test_studies_name_the_files_that_they_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    arguments = ["study", "orthogonalize", "--shape", "8x12", "--methods", "newton_schulz:5,svd", "--out", str(out)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "newton_schulz:5" in printed
    assert f"written: {out / 'orthogonalize.json'}, {out / 'orthogonalize.png'}" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["orthogonalize", "--methods", "qr"], "--methods: qr: unknown method qr"),
        (["spectra", "a.yaml", "b.yaml"], "takes one recipe, not 2"),
        (["spectra", "nowhere.yaml"], "nowhere.yaml: no such file"),
        (["muonclip", "a.yaml", "b.yaml"], "study muonclip takes one recipe, not 2"),
    ],
)
def test_a_mistake_in_a_study_is_answered_in_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def run_command(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [sys.executable, "-m", "airbench", *arguments], capture_output=True, env={**os.environ, **variables}, cwd=ROOT
    )


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_an_encoding_without_arrows_prints_question_marks(encoding: str) -> None:
    done = run_command("study", "--help", PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    done = run_command("train", MUON, "train.epochs=-1", PYTHONIOENCODING=encoding)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr


def test_without_standard_streams_it_works(tmp_path: Path) -> None:
    """As a service, or under pythonw."""
    code = (
        "import sys; sys.stdout = sys.stderr = None\n"
        "from airbench.cli import main\n"
        f"sys.exit(main(['train', {MUON!r}, 'train.epochs=-1']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr == b""


def test_a_backend_inherited_from_a_notebook_does_no_harm(tmp_path: Path) -> None:
    done = run_command("study", "decay", "--out", str(tmp_path), MPLBACKEND="module://no_such.backend")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "decay.png").is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trian"], "did you mean train?"),
        (["study", "dcay"], "did you mean decay?"),
        (["train", "speedrun", "--trails", "3"], "unrecognized arguments: --trails 3; did you mean --trials?"),
        (["train", "speedrun", "--trials", "x"], "argument --trials: x: give an integer from 1 to 1000000"),
        (["train", "speedrun", "--device"], "expected one argument; airbench train --help"),
        (["power"], "--difference, --std; airbench power --help"),
        (["power", "--difference", "0.1%"], "0.1%: give a share between 0 and 1: 0.94 is 94%"),
        (["profile", "quickstart", "--json", "/nowhere/x.json"], "there is no folder /nowhere; make it first"),
        (["predict", "run", "--csv", "/"], "/: a folder; name a file in it"),
        (["report", "--out", "/nowhere/x.html"], "there is no folder /nowhere"),
        (["study", "decay", "--out", "/dev/null/x"], "/dev/null is not a folder"),
        (["study", "decay", "--out", "x" * 300], "File name too long; choose another place"),
        (["report", "--out", "x" * 300], "File name too long; choose another place"),
        (["power", "--difference", "a\nb", "--std", "0.1"], "a b: give a share"),
        (["runs", "x", "--mtach\nfoo"], "unrecognized arguments: --mtach foo; did you mean --match?"),
    ],
)
def test_a_mistake_in_the_words_is_one_line_before_any_work(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    error = capsys.readouterr().err
    assert ended.value.code == 2
    assert error.startswith("airbench: ")
    assert error.count("\n") == 1
    assert said in error


def test_a_fault_of_the_program_is_one_line_and_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("of all\nthings")

    monkeypatch.setattr("airbench.cli.train.read_recipes", broken)
    assert main(["train", MUON]) == 70
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "ZeroDivisionError: of all things" in error
    file = Path(error.strip().rpartition("details are in ")[2].rstrip(")"))
    assert "Traceback" in file.read_text()
    file.unlink()


def test_memory_that_runs_out_anywhere_says_what_to_lower(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def exhausted(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("airbench.cli.train.read_recipes", exhausted)
    assert main(["train", MUON]) == 2
    assert "lower train.batch_size" in capsys.readouterr().err


def test_a_message_that_quotes_a_very_long_text_is_shortened(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "quickstart", f"{'k' * 100_000}=1"]) == 2
    error = capsys.readouterr().err
    assert len(error) < 2100
    assert "unknown key" in error


@pytest.mark.parametrize("words", [["--seed", "1e3"], ["--trials", "3.0"], ["--trials", "1000001"]])
def test_numbers_in_digits_are_asked_for(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["train", "quickstart", *words])
    assert f"{words[1]}: give an integer from" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="limits of address space are kept only on Linux")
@pytest.mark.parametrize("gigabytes", [2, 3.4])
def test_a_process_without_memory_says_what_to_lower(gigabytes: float, tmp_path: Path) -> None:
    """With 2 GB not even PyTorch's libraries can be loaded."""
    limited = (
        f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({int(gigabytes * 1e9)},) * 2); "
        "from airbench.cli import main; raise SystemExit(main())"
    )
    command = ["train", "quickstart", "train.batch_size=10000", "net.widths=[4096,4096,4096]", "--threads", "1"]
    done = subprocess.run(
        [sys.executable, "-c", limited, *command, "--out", str(tmp_path)],
        capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("airbench: ")
    assert "out of memory: lower train.batch_size" in done.stderr
    assert "Traceback" not in done.stderr


def test_recipes_that_differ_in_their_subset_are_compared(
    few_shapes: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, chosen in (("first", range(100)), ("second", range(100, 200))):
        (tmp_path / f"{name}.txt").write_text("\n".join(map(str, chosen)))
        (tmp_path / f"{name}.yaml").write_text(f"extends: {MUON}\ndata: {{subset: {tmp_path / name}.txt}}\n")
    both = [str(tmp_path / f"{name}.yaml") for name in ("first", "second")]
    assert main(["compare", *both, *TINY, "train.epochs=1", "--trials", "2", "--out", str(tmp_path / "runs")]) == 0
    assert "first (n = 2) against second (n = 2)" in capsys.readouterr().out


def test_a_run_after_an_option_is_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        fake_run(tmp_path / name, [0.94, 0.941])
    a, b, page = (str(tmp_path / name) for name in ("a", "b", "page.md"))
    assert main(["compare", a, "--paired", b]) == 0
    assert main(["report", a, "--out", page, b]) == 0
    assert "2 runs" in capsys.readouterr().out


def test_training_with_a_failed_trial_is_no_success(
    few_shapes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: object) -> object:
        trials.append(1)
        if len(trials) == 2:
            raise TrialError("bad luck")
        return run_trial(*arguments)  # type: ignore[arg-type]

    words = [*TINY, "--trials", "3", "--out", str(tmp_path)]
    for command in (["compare", MUON, SGD, "train.epochs=1"], ["time-to-target", MUON, "--epochs", "1,2"]):
        trials: list[int] = []
        with monkeypatch.context() as patch:
            patch.setattr("airbench.experiment.worker.run_trial", fails)
            assert main([*command, *words]) == 1


def test_a_section_that_does_not_fit_together_is_shown_by_its_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "quickstart", "--data", "/nope"]) == 2
    assert 'command line: data.path = "/nope": path (or --data) has no effect on shapes' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["profile", "quickstart", "--save", "both"], "--save has no effect here"),
        (["data", "--data", "a", "--import", "b"], "--data has no effect beside --import"),
        (["train", "quickstart", "--threads", "2", "--ray", "--ray-threads", "4"], "give one of them"),
        (
            ["power", "--difference", "1e-9", "--std", "0.5"],
            "--difference 1e-09, --std 0.5: more than a hundred million",
        ),
    ],
)
def test_options_without_effect_or_sense_are_refused(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert said in capsys.readouterr().err
