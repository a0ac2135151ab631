"""The program on a GPU that computes nothing: whole trials, and what they cost the host. Losses mean nothing here.

Only the command line and the recipes are used. ``tests.nullgpu.budget`` runs the commands and counts.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.nullgpu.budget import WAYS, Report, launches_per_step, measured

LENGTHS: dict[str, tuple[float, float]] = {
    "airbench94_muon": (4, 8),
    "airbench94": (5, 9.9),
    "hiverge": (4, 7.59),
    "quickstart": (1, 3),
    "speedrun": (4, 10.75),
    "muonclip": (1, 2),
}
"""Epochs of a shorter trial and of the whole one: they differ by training steps only."""

WORDS = {"speedrun": ("train.batch_size=104",)}
"""Batches of the 5,000 images that make 48 steps an epoch, as many as there are with 50,000 images: its examples are
chosen once an epoch. Nothing of what is counted depends on the size of a batch, where steps are not compiled."""


@dataclass(frozen=True)
class Budget:
    """Upper bounds on launches per training step, and on a trial's calls while the clock runs. Only to be lowered."""

    launches_per_step: float
    kernels_per_step: float
    mallocs: int = 0
    host_allocs: int = 0
    syncs: int = 1
    pageable_copies: int = 1
    captures: int = 0


# As counted with PyTorch 2.14. The wait, and the copy, are in whitening, which the transformer (muonclip) has not: the
# covariance, to the host.
BUDGETS = {
    ("airbench94_muon", "eager"): Budget(134, 134),
    ("airbench94", "eager"): Budget(89.1, 89.1),
    ("hiverge", "eager"): Budget(133.1, 133.1),
    ("quickstart", "eager"): Budget(140, 140),
    ("speedrun", "eager"): Budget(133.2, 133.2),
    ("muonclip", "eager"): Budget(412.3, 412.3, syncs=0, pageable_copies=0),
    ("airbench94_muon", "captured"): Budget(6.5, 135.5),
    ("airbench94", "captured"): Budget(6.6, 90.6),
    ("hiverge", "captured"): Budget(9.5, 131.5),
    ("quickstart", "captured"): Budget(6.1, 141),
    ("speedrun", "captured"): Budget(7.7, 139),
    ("muonclip", "captured"): Budget(5.3, 415.3, syncs=0, pageable_copies=0),
}

COMPILED_BUDGETS = {"airbench94_muon": 150, "hiverge": 150, "airbench94": 150, "speedrun": 150}
"""Kernels of a step as it is by default, compiled and captured. Speedrun's includes the choice of examples, and is
counted with 50,000 images."""


@dataclass(frozen=True)
class Trained:
    """A recipe that was trained at both lengths."""

    report: Report
    runs: list[Path]
    """Run folders, in the order of the lengths."""

    @property
    def steps(self) -> list[int]:
        """Training steps of each trial."""
        return [steps_of(run) for run in self.runs]


def trials(run: Path) -> list[dict[str, Any]]:
    """The lines that a run's trials left."""
    return [json.loads(line) for line in (run / "trials.jsonl").read_text(encoding="utf-8").splitlines()]


def steps_of(run: Path) -> int:
    """Training steps of a run's trials; a failed one has none."""
    return sum(line.get("steps", 0) for line in trials(run))


def train_command(workshop: Path, recipe: str, *words: str) -> list[str]:
    images = ("data.name=cifar10", "--data", str(workshop / "cifar-10-batches-py"))
    return ["train", recipe, "--device", "cuda", *images, *words]


@pytest.fixture(scope="session")
def reports(null_gpu: ModuleType, workshop: Path) -> dict[tuple[str, str], Report]:
    """Reports of all commands of the quick tests, run in one process because PyTorch takes long to load."""
    commands = {}
    for recipe, way in BUDGETS:
        epochs = ",".join(map(str, LENGTHS[recipe]))
        out = str(workshop / f"{recipe}-{way}")
        words = ("--epochs", epochs, *WAYS[way], *WORDS.get(recipe, ()), "--out", out)
        commands[recipe, way] = train_command(workshop, recipe, *words)
    commands["speedrun", "alone"] = train_command(
        workshop, "speedrun", "train.epochs=4", *WAYS["eager"], "--out", str(workshop / "alone")
    )
    commands["airbench94_muon", "and quickstart"] = train_command(
        workshop, "airbench94_muon", "quickstart", "train.epochs=4", *WAYS["captured"], "--out", str(workshop / "two")
    )
    for command in ("profile", "scaling"):
        commands["quickstart", command] = [command, "configs/quickstart.yaml", "--device", "cuda"]
    words = ("data.name=cifar10", "--data", str(workshop / "cifar-10-batches-py"), "engine.compile=none")
    commands["quickstart", "speedup"] = ["speedup", "quickstart", "--device", "cuda", "--rounds", "1", *words]
    return dict(zip(commands, measured(workshop, *commands.values()), strict=True))


@pytest.fixture(scope="session")
def trained(workshop: Path, reports: dict[tuple[str, str], Report]) -> dict[tuple[str, str], Trained]:
    """Every recipe at both lengths, by name and by ``eager`` or ``captured``."""
    found = {}
    for recipe, way in BUDGETS:
        runs = [path.parent for path in (workshop / f"{recipe}-{way}").glob("*/trials.jsonl")]
        found[recipe, way] = Trained(reports[recipe, way], sorted(runs, key=steps_of))
    return found


@pytest.fixture(params=BUDGETS, ids="-".join)
def one(request: pytest.FixtureRequest, trained: dict[tuple[str, str], Trained]) -> Trained:
    """A recipe, trained eagerly or captured."""
    return trained[request.param]


@pytest.fixture
def budget(request: pytest.FixtureRequest) -> Budget:
    """The budget of ``one``."""
    return BUDGETS[request.node.callspec.params["one"]]


def test_whole_trials_finish_and_leave_their_run_folders(one: Trained) -> None:
    assert one.report.code == 0, one.report.output
    assert len(one.runs) == 2
    for run in one.runs:
        assert [line["status"] for line in trials(run)] == ["finished"]
        assert all((run / name).is_file() for name in ("recipe.yaml", "run.json", "summary.json"))


def test_no_call_violates_a_capture(one: Trained) -> None:
    assert one.report.counters.violations == 0
    assert {name for name in one.report.names if "violation" in name} == set()


def test_a_step_launches_no_more_than_its_budget(one: Trained, budget: Budget) -> None:
    shorter, longer = one.report.trials
    steps = one.steps[1] - one.steps[0]
    assert steps > 0
    assert launches_per_step(shorter, longer, steps) <= budget.launches_per_step
    assert (longer.total.kernels - shorter.total.kernels) / steps <= budget.kernels_per_step


@pytest.mark.parametrize("what", ["syncs", "pageable_copies", "mallocs", "host_allocs", "captures"])
def test_a_trial_stays_within_its_budget_on_the_clock(what: str, one: Trained, budget: Budget) -> None:
    for trial in one.report.trials:
        assert getattr(trial.total, what) <= getattr(budget, what), dict(trial.waits)


def test_steps_of_several_kinds_leave_nothing_to_allocate_in_the_first_trial(
    reports: dict[tuple[str, str], Report],
) -> None:
    report = reports["speedrun", "alone"]
    assert report.code == 0, report.output
    assert [(trial.total.mallocs, trial.total.host_allocs) for trial in report.trials] == [(0, 0)]


def test_what_another_recipe_captured_leaves_nothing_to_allocate_in_the_first_trial(
    reports: dict[tuple[str, str], Report],
) -> None:
    """A capture gives back all memory that PyTorch keeps, also that of the recipe that was warmed up before."""
    report = reports["airbench94_muon", "and quickstart"]
    assert report.code == 0, report.output
    assert [(trial.total.mallocs, trial.total.host_allocs) for trial in report.trials] == [(0, 0)] * 2


@pytest.mark.parametrize("recipe", LENGTHS)
def test_every_step_of_a_captured_trial_is_one_replay(recipe: str, trained: dict[tuple[str, str], Trained]) -> None:
    one = trained[recipe, "captured"]
    assert [trial.total.graph_launches for trial in one.report.trials] == one.steps
    assert trained[recipe, "eager"].report.counters.captures == 0


def test_a_run_with_a_missing_trial_is_resumed(
    null_gpu: ModuleType, workshop: Path, trained: dict[tuple[str, str], Trained], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained["quickstart", "eager"].runs[0], run)
    before = trials(run)
    (run / "trials.jsonl").write_text("", encoding="utf-8")
    outcome = null_gpu.run(["train.py", "--resume", run], variables={"AIRBENCH_CACHE": str(workshop / "cache")})
    assert outcome.code == 0, outcome.output
    assert [line["status"] for line in trials(run)] == ["finished"]
    assert trials(run)[0]["seeds"] == before[0]["seeds"]


TWO_RECIPES = """
import sys
import torch
from airbench.experiment.jobs import TrialJob
from airbench.experiment.worker import Worker
from airbench.recipe import load_recipe
from airbench.training.callback import Callback
from tests.nullgpu.counters import counters, reset as reset_counters

class State(Callback):
    def on_step(self, step, total):
        kernels, reset = counters().kernels, reset_counters()
        trains = "trains" if kernels > 50 else f"{kernels} kernels"
        print("state", torch.cuda.current_device(), torch.backends.cudnn.conv.fp32_precision, trains)

words = [f"data={{name: cifar10, path: {sys.argv[1]}}}", "train.epochs=0.1", "engine.compile=none"]
words += ["engine.precision=fp32"]
recipes = [
    load_recipe("quickstart", [*words, "engine.device=cuda:1", "engine.tf32=false"]).recipe,
    load_recipe("quickstart", [*words, "engine.device=cuda:0", "engine.tf32=true"]).recipe,
]
worker, jobs = Worker(), [TrialJob(recipe, 0, 0) for recipe in recipes]
for job in jobs:
    worker.setup(job.recipe)
for job in jobs:
    worker.warm_up(job)
for job in jobs:
    list(worker.train(job, State()))
    print("executed as", worker.setup(job.recipe).execution)
"""


def test_recipes_of_one_command_are_trained_on_their_own_gpu_in_their_own_precision(
    null_gpu: ModuleType, workshop: Path
) -> None:
    command = ["-c", TWO_RECIPES, workshop / "cifar-10-batches-py"]
    outcome = null_gpu.run(command, devices=2, variables={"AIRBENCH_CACHE": str(workshop / "cache")})
    assert outcome.code == 0, outcome.output
    states = [line for line in outcome.output.splitlines() if line.startswith("state")]
    assert list(dict.fromkeys(states)) == ["state 1 ieee trains", "state 0 tf32 trains"]
    executed = [line for line in outcome.output.splitlines() if line.startswith("executed as")]
    assert len(executed) == 2
    assert len(set(executed)) == 1  # both captured
    assert "CUDA graph" in executed[0], executed[0]


@pytest.mark.parametrize("command", ["profile", "scaling", "speedup"])
def test_measuring_speed_runs_on_a_gpu(command: str, reports: dict[tuple[str, str], Report]) -> None:
    report = reports["quickstart", command]
    assert report.code == 0, report.output
    assert "Null GPU 0" in report.output


@pytest.mark.parametrize("kernel", ["triton", "auto"])
def test_the_symmetric_kernel_costs_nothing_on_the_clock(kernel: str, null_gpu: ModuleType, workshop: Path) -> None:
    """It is compiled, and measured, in the warm-up."""
    pytest.importorskip("triton")
    words = ("--epochs", "4,8", *WAYS["captured"], f"optimizers.filters.orthogonalize.kernel={kernel}")
    command = train_command(workshop, "airbench94_muon", *words, "--out", str(workshop / f"symmetric-{kernel}"))
    (report,) = measured(workshop, command)
    assert report.code == 0, report.output
    assert any("_symmetric" in name for name in report.names)
    assert report.counters.violations == 0
    total = report.trials[0].total
    assert (total.mallocs, total.host_allocs, total.captures) == (0, 0, 0)
    assert total.syncs <= 1


@pytest.mark.slow
def test_bench_runs_on_a_gpu(null_gpu: ModuleType, workshop: Path) -> None:
    (report,) = measured(workshop, ("bench", "--device", "cuda"))
    assert report.code == 0, report.output


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_trials_of_full_size_finish(way: str, null_gpu: ModuleType, workshop: Path) -> None:
    out = str(workshop / f"full-{way}")
    recipes = list(LENGTHS)
    command = ("train", *recipes, "data.name=shapes", *WAYS[way], "--device", "cuda", "--out", out)
    (report,) = measured(workshop, command)
    assert report.code == 0, report.output
    assert report.counters.violations == 0
    assert len(report.trials) == len(recipes)


@pytest.mark.slow
def test_a_compiled_net_trains_eagerly_and_captured(null_gpu: ModuleType, workshop: Path) -> None:
    """Nothing is compiled, allocated or captured on the clock, and the default keeps to the budget of kernels."""
    commands = {}
    for recipe in COMPILED_BUDGETS:
        for way in ("compiled", "default"):
            out = str(workshop / f"{recipe}-{way}")
            words = ("--epochs", ",".join(map(str, LENGTHS[recipe])), *WAYS[way], "--out", out)
            full = ("train", recipe, "--device", "cuda", "data.name=shapes", *words)
            commands[recipe, way] = full if recipe in WORDS else train_command(workshop, recipe, *words)
    for (recipe, way), report in zip(commands, measured(workshop, *commands.values()), strict=True):
        assert report.code == 0, report.output
        assert any(name.startswith("triton ") for name in report.names)
        if way == "default":
            runs = sorted(steps_of(path.parent) for path in (workshop / f"{recipe}-{way}").glob("*/trials.jsonl"))
            shorter, longer = (trial.total.kernels for trial in report.trials)
            assert (longer - shorter) / (runs[1] - runs[0]) <= COMPILED_BUDGETS[recipe]
        assert report.counters.violations == 0
        for trial in report.trials:
            total = trial.total
            assert (total.mallocs, total.host_allocs, total.captures) == (0, 0, 0)
            assert total.syncs <= 1, dict(trial.waits)


@pytest.mark.slow
def test_gpu_check_leaves_its_page_whatever_fails(null_gpu: ModuleType, workshop: Path, tmp_path: Path) -> None:
    peer = tmp_path / "peer.py"
    peer.write_text("print('a script of my own')\nraise SystemExit(3)\n", encoding="utf-8")
    out = tmp_path / "check"
    words = ("--trials", "1", "--recipes", "quickstart", "--data", str(workshop / "cifar-10-batches-py"))
    command = ("gpu-check", "data.name=cifar10", "train.epochs=1", *words, "--out", str(out), "--peer", str(peer))
    (report,) = measured(workshop, command, timeout=3600)  # it runs the tests of test_cuda.py, too
    assert report.code == 1  # the peer failed
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    states = {check["name"]: check["code"] for check in summary["checks"]}
    assert {name for name, code in states.items() if code} == {"peer-1"}
    assert (out / "peer-1.txt").read_text(encoding="utf-8") == "a script of my own\n"
    page = (out / "index.html").read_text(encoding="utf-8")
    for way in ("eager", "graph", "compile", "compile-graph"):
        assert way in page
    assert (out / "profile.json").is_file()
    assert (out / "bench.json").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("way", ["captured", "default"])
def test_the_final_evaluation_of_all_test_images_is_few_launches(
    way: str, null_gpu: ModuleType, workshop: Path
) -> None:
    """Six views of 10,000 images, or one of them and six of a quarter."""
    commands = [
        ("train", recipe, "data.name=shapes", "data.train_images=4000", "--epochs", "1", *WAYS[way],
         "--device", "cuda", "--out", str(workshop / f"evaluated-{way}"))
        for recipe in ("airbench94_muon", "hiverge")
    ]  # fmt: skip
    for report in measured(workshop, *commands):
        assert report.code == 0, report.output
        assert report.trials[0].blocks[-1].launches <= (150 if way == "default" else 195)
