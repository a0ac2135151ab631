"""Trials on two real nodes of a Ray cluster on this machine: the same bits as in one process, whatever dies."""

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airbench.cli import main
from airbench.data.dataset import Dataset
from airbench.data.sources import load_dataset
from airbench.errors import DataError
from airbench.experiment.cluster.connect import Cluster
from airbench.experiment.cluster.executor import RayExecutor
from airbench.experiment.cluster.remote import MOST_RETRIES
from airbench.experiment.cluster.session import Parcel, own_images
from airbench.experiment.executors import SerialExecutor
from airbench.experiment.jobs import TrialJob, TrialOutcome
from airbench.experiment.worker import Worker
from airbench.runs import read_run
from airbench.sweep.folder import read
from airbench.sweep.trained import accuracies
from airbench.training.callback import Callback
from airbench.training.results import EpochRow
from tests.conftest import CONFIGS, TINY, tiny
from tests.experiment.test_executors import Notes, bits
from tests.test_extending import clean_registries  # noqa: F401 - a fixture

ray = pytest.importorskip("ray", reason="Ray is not installed (pip install ray)")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

STORE = 100 * 2**20


@pytest.fixture
def join(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Start a cluster of nodes with one processor each; each argument is the environment of a node."""
    from ray.cluster_utils import Cluster as Nodes

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_health_check_period_ms", "500")  # a dead node is noticed in seconds
    monkeypatch.setenv("RAY_health_check_timeout_ms", "2000")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)  # Ray puts the working directory on every node's path
    started = []

    def start(*environments: dict[str, str]) -> Any:
        node = {"num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False}
        nodes = Nodes(initialize_head=True, head_node_args={**node, "env_vars": environments[0]})
        started.append(nodes)
        for environment in environments[1:]:
            nodes.add_node(num_cpus=1, object_store_memory=STORE, env_vars=environment)
        return nodes

    yield start
    ray.shutdown()
    for nodes in started:
        nodes.shutdown()


def jobs(epochs: int = 1, trials: int = 4) -> list[TrialJob]:
    """Eight trials of two recipes, in turn, on one thread each, here and on a node: bits depend on it."""
    muon, sgd = (
        tiny(f"{name}.yaml", f"train.epochs={epochs}", "engine.threads=1") for name in ("airbench94_muon", "airbench94")
    )
    return [
        TrialJob(each.recipe, seed, seed, run, spectra=seed == 0)
        for seed in range(trials)
        for run, each in enumerate((muon, sgd))
    ]


def trained(address: str, work: list[TrialJob], notes: Callback, **more: Any) -> list[TrialOutcome]:
    executor = RayExecutor(Cluster(address, 1), Worker(), **more)
    return [found for found in executor.run(work, lambda job: notes) if isinstance(found, TrialOutcome)]


def in_one_process(work: list[TrialJob]) -> list[object]:
    found = SerialExecutor(Worker()).run(work, lambda job: Callback())
    return [bits(each) for each in found if isinstance(each, TrialOutcome)]


def sorted_bits(outcomes: list[TrialOutcome]) -> list[object]:
    return [bits(each) for each in sorted(outcomes, key=lambda each: (each.job.index, each.job.run))]


def processes(name: str, parent: int | None = None) -> list[int]:
    """Return the processes whose title begins with ``name``."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes()
            above = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if title.startswith(name.encode()) and parent in (None, above):
            found.append(int(folder.name))
    return found


class AtFirstRow(Notes):
    """Does something once, when the first epoch of any trial has ended."""

    def __init__(self, action: Callable[[], None]):
        super().__init__()
        self.action: Callable[[], None] | None = action

    def on_epoch(self, row: EpochRow) -> None:
        super().on_epoch(row)
        if self.action is not None:
            self.action, action = None, self.action
            action()


def test_eight_trials_on_two_nodes_give_the_bits_of_one_process(few_shapes: Dataset, join: Callable[..., Any]) -> None:
    notes, work = Notes(), jobs()
    outcomes = trained(join({}, {}).address, work, notes)
    assert sorted_bits(outcomes) == in_one_process(work)
    assert {each.machine["node"] for each in outcomes} == {0, 1}
    assert {each.machine["concurrent"] for each in outcomes} == {1}
    assert {each.retries for each in outcomes} == {0}
    assert "retries" not in outcomes[0].as_line()
    assert len(notes.rows) == len(notes.ends) == 8


def test_a_worker_and_a_node_that_are_killed_lose_nothing(few_shapes: Dataset, join: Callable[..., Any]) -> None:
    cluster, said, work = join({}, {}), list[str](), jobs(epochs=20)  # long enough to be killed in the middle
    expected = in_one_process(work)
    (other,) = cluster.worker_nodes

    def kill_a_worker() -> None:
        os.kill(processes("ray::Actor.train")[0], signal.SIGKILL)  # an idle one would cost no trial

    def kill_the_other_node() -> None:
        cluster.remove_node(other, allow_graceful=False)

    outcomes = trained(cluster.address, work, AtFirstRow(kill_a_worker), say=said.append)
    assert sorted_bits(outcomes) == expected
    assert sorted(each.retries for each in outcomes) == [0] * 7 + [1]
    assert [each.as_line().get("retries") for each in outcomes].count(1) == 1
    assert [line for line in said if "is tried again, with the same seed: its process died" in line] == said
    ray.shutdown()

    outcomes = trained(cluster.address, work, AtFirstRow(kill_the_other_node), say=said.append)
    assert sorted_bits(outcomes) == expected
    assert sorted(each.retries for each in outcomes)[-1] == 1
    assert any(line.startswith("node 1 (") and line.endswith(") is gone") for line in said)


DEADLY = """
import os
import sys
from typing import Literal

from airbench.recipe.schedules import SCHEDULES, ScheduleConfig


class Deadly(ScheduleConfig):
    name: Literal["deadly"] = "deadly"

    def factor(self, step, total, per_epoch):
        if step == 3 and "default_worker" in sys.argv[0]:
            os._exit(9)
        return 1.0


SCHEDULES.add("deadly", Deadly)
"""


@pytest.mark.usefixtures("clean_registries")
def test_a_trial_that_kills_its_worker_each_time_is_recorded_as_failed_and_others_go_on(
    few_shapes: Dataset, join: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "deadly.py").write_text(DEADLY)
    good = CONFIGS / "records" / "airbench94_muon.yaml"
    bad = tmp_path / "bad.yaml"
    bad.write_text(f"extends: {good}\nname: bad\noptimizers: {{filters: {{schedule: {{name: deadly}}}}}}\n")
    code = main(["train", str(bad), str(good), *TINY, "train.epochs=1", "--plugin", "deadly.py", "--out", "runs",
                 "--ray", join({}).address, "--ray-threads", "1"])  # fmt: skip
    assert code == 1
    failed, finished = (
        read_run(path) for path in sorted(Path("runs").iterdir(), key=lambda path: "bad" not in path.name)
    )
    assert failed.failed[0].reason.startswith(f"the worker that trained it died {MOST_RETRIES + 1} times")
    assert len(finished.finished) == 1
    assert finished.problems == failed.problems == ()
    assert list(finished.fact("source", "plugins")) == ["deadly.py"]


def test_a_run_that_was_cut_off_is_resumed_with_ray_and_without(
    few_shapes: Dataset, join: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, address = str(CONFIGS / "records" / "airbench94_muon.yaml"), join({}, {}).address
    command = ["train", recipe, *TINY, "--trials", "5", "--threads", "1", "--out"]
    assert main([*command, "whole"]) == 0
    keep = RayExecutor._received

    def interrupted(self: RayExecutor, *arguments: Any) -> Any:
        for found in keep(self, *arguments):
            yield found
            if isinstance(found, TrialOutcome):
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RayExecutor, "_received", interrupted)
        assert main([*command, "cut", "--ray", address]) == 130
        (path,) = Path("cut").iterdir()
        assert len(read_run(path).trials) == 1
        assert main(["resume", str(path), "--ray", address]) == 130
        assert len(read_run(path).trials) == 2
    assert main(["resume", str(path)]) == 0
    (whole,) = Path("whole").iterdir()
    cut, uncut = read_run(path), read_run(whole)
    assert [t.accuracy for t in cut.trials] == [t.accuracy for t in uncut.trials]
    assert [t.epochs[-1]["train_loss"] for t in cut.trials] == [t.epochs[-1]["train_loss"] for t in uncut.trials]
    assert [entry["changed"] for entry in cut.fact("resumed")] == [[], []]
    assert cut.problems == ()


def test_a_node_without_the_package_is_sent_it_and_one_with_another_version_is_left_out(
    few_shapes: Dataset, join: Callable[..., Any], tmp_path: Path
) -> None:
    hidden, other = tmp_path / "hidden", tmp_path / "other"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(HIDE)
    shutil.copytree(
        CONFIGS.parent / "airbench", other / "airbench", ignore=shutil.ignore_patterns("*.so", "__pycache__")
    )
    with (other / "airbench" / "errors.py").open("a") as file:
        file.write("\n# another version\n")
    said, work = list[str](), jobs()
    nodes = join({}, {"PYTHONPATH": str(other)})
    outcomes = trained(nodes.address, work, Callback(), say=said.append)
    assert sorted_bits(outcomes) == in_one_process(work)
    assert len(said) == 1
    assert ") is left out: it has another version of airbench (source " in said[0]
    ray.shutdown()

    nodes.add_node(num_cpus=1, object_store_memory=STORE, env_vars={"PYTHONPATH": str(hidden)})
    said.clear()
    outcomes = trained(nodes.address, work, Callback(), say=said.append)
    assert sorted_bits(outcomes) == in_one_process(work)
    assert said == []
    assert {each.machine["node"] for each in outcomes} == {0, 1, 2}


HIDE = """
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if "Editable" not in getattr(finder, "__name__", "")]
"""


def test_a_store_that_is_too_small_and_a_node_without_images_are_a_line_each(
    workshop: Path, join: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("airbench.experiment.cluster.images.ROOM", 0.1)
    has = {"AIRBENCH_DATA": str(workshop)}
    address = join({**has}, {"AIRBENCH_CACHE": str(tmp_path / "none")}).address
    monkeypatch.setenv("AIRBENCH_DATA", str(workshop))
    recipe = tiny("airbench94_muon.yaml", "data.name=cifar10", "train.epochs=1", "data.train_images=400").recipe
    work, said = [TrialJob(recipe, seed, seed) for seed in range(3)], list[str]()
    outcomes = trained(address, work, Callback(), say=said.append)
    assert sorted_bits(outcomes) == in_one_process(work)
    small = "this machine's object store (100 MiB) is too small for the images (17 MiB)"
    assert len([line for line in said if line.endswith(f"reads its own copy of the images: {small}")]) == 2
    (left_out,) = [line for line in said if "left out" in line]
    assert left_out.startswith("node 1 (")
    assert f"is left out: {small}, and it has no images of its own (no copy is named there" in left_out


def test_a_node_whose_own_images_are_others_is_left_out(workshop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tiny("airbench94_muon.yaml", "data.name=cifar10", f"data.path={workshop}").recipe.data
    images = own_images(data, Parcel(fingerprints(workshop), "its object store is too small"))
    assert len(images.train) == 5000
    with pytest.raises(DataError, match=r"too small, and its own copy \(.*\) holds other images; start Ray there"):
        own_images(data, Parcel(("other", "other"), "its object store is too small"))


def fingerprints(copy: Path) -> tuple[str, str]:
    data = tiny("airbench94_muon.yaml", "data.name=cifar10", f"data.path={copy}").recipe.data
    dataset = load_dataset(data)
    return dataset.train.fingerprint, dataset.test.fingerprint


def test_a_sweep_goes_on_without_the_settings_that_cannot_be_trained(
    few_shapes: Dataset, join: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in one process: they count as the worst, are not tried again, and end nothing."""
    axes = ["--axis", "train.batch_size=50,5000,60", "--held-out", "100", "--again", "0"]
    command = ["sweep", "airbench94_muon", *TINY, "train.epochs=1", *axes]
    ray_words = ["--ray", join({}).address, "--ray-threads", "1"]
    found = []
    for name, words in (("ray", ray_words), ("alone", [])):
        assert main([*command, "--out", str(tmp_path / name), *words]) == 0
        (folder,) = (tmp_path / name).iterdir()
        sweep = read(folder)
        found.append([*sweep.refused(), *(accuracies(sweep.run_of(number)) for number in range(3))])
        assert "setting 2 cannot be trained: " in capsys.readouterr().out
        assert "there are only 300 training images" in sweep.refused()[1]
        assert main(["sweep", "--resume", str(folder), *words]) == 0
    assert found[0] == found[1]
    assert found[0][0] == 1


def test_an_address_without_a_cluster_is_a_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    started = time.monotonic()
    assert main(["train", "quickstart", "--ray", "127.0.0.1:1", "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("airbench: --ray 127.0.0.1:1: Ray cannot be joined: ")
    assert time.monotonic() - started < 60
