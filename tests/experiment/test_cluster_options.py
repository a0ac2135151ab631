"""What can be said of a cluster before there is one: options, what a trial needs, which nodes have it."""

import pickle
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from airbench.cli import build_parser, main
from airbench.cli.arguments import execution, ray_address
from airbench.cli.recipes import read_recipes
from airbench.data.dataset import Dataset
from airbench.errors import AirbenchError, DeviceError, RecipeError, TrialError
from airbench.experiment.cluster.connect import Cluster, Need, Node, packed, same_need
from airbench.experiment.cluster.session import OUTCOME, REFUSED, Parcel, Place, Session
from airbench.experiment.jobs import TrialJob
from airbench.experiment.worker import Worker, images_key
from airbench.recipe import Recipe, load_recipe
from tests.conftest import CONFIGS, tiny


def cluster(*nodes: tuple[float, float], threads: int | None = None) -> Cluster:
    """A cluster of nodes with so many CPUs and GPUs, that nobody has joined."""
    found = Cluster.__new__(Cluster)
    found.threads = threads
    found.nodes = [Node(i, f"id{i}", "host", cpus, gpus, 2**30) for i, (cpus, gpus) in enumerate(nodes)]
    return found


@pytest.mark.parametrize("command", ["train", "compare", "variance", "time-to-target"])
def test_without_ray_the_flag_says_so_in_one_line(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.chdir(tmp_path)
    recipe = tmp_path / "one.yaml"
    recipe.write_text("extends: quickstart\n")
    words = {"compare": ["quickstart_sgd"], "time-to-target": ["--epochs", "1,2"]}.get(command, [])
    assert main([command, str(recipe), *words, "--trials", "2", "--ray"]) == 2
    assert capsys.readouterr().err == "airbench: --ray: Ray is not installed; pip install ray\n"


def test_nothing_imports_ray_without_the_flag(tmp_path: Path) -> None:
    code = (
        "import sys; import airbench.cli, airbench.experiment.run, airbench.experiment.cluster.session; "
        "sys.exit('ray' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("words", [["--ray-threads", "2"], ["--ray", "--isolate"]])
def test_options_that_contradict_each_other(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ray")
    assert main(["train", "quickstart", *words]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_recipe_after_the_flag_is_no_address(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--ray", "speedrun"])
    assert "speedrun: give host:port, auto or local, or write --ray after everything else" in capsys.readouterr().err
    for text in ("auto", "local", "10.0.0.1:6379", "[fe80::1]:6379"):
        assert ray_address(text) == text
    with pytest.raises(SystemExit):
        main(["train", "speedrun", "--ray", "ray://head:10001"])
    assert "run this on a machine of the cluster, with --ray auto" in capsys.readouterr().err


def test_threads_of_ray_are_recorded_in_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    options = build_parser().parse_args(["train", "quickstart", "--ray", "--ray-threads", "3"])
    (loaded,) = read_recipes(options)
    assert loaded.recipe.engine.threads == 3
    pytest.importorskip("ray")
    assert execution(options).cluster is not None


def test_where_trials_fit() -> None:
    auto = load_recipe("quickstart").recipe
    cpu, gpu, two = (
        load_recipe("quickstart", [f"engine.{word}"]).recipe for word in ("device=cpu", "device=cuda", "threads=2")
    )
    mixed, plain = cluster((16, 0), (96, 8)), cluster((16, 0), (5, 0))
    assert mixed.need(auto) == mixed.need(gpu) == Need(True, None)
    assert [node.holds(mixed.need(auto)) for node in mixed.nodes] == [0, 8]
    assert [node.holds(mixed.need(cpu)) for node in mixed.nodes] == [1, 1]
    assert [node.holds(plain.need(two)) for node in plain.nodes] == [8, 2]
    assert plain.nodes[1].resources(plain.need(auto)) == {"num_gpus": 0, "num_cpus": 5}
    assert [node.holds(Need(False, 4)) for node in cluster((3.5, 0)).nodes] == [0]
    with pytest.raises(AirbenchError, match=r"engine.device = cuda: the cluster has no GPU"):
        plain.need(gpu)
    with pytest.raises(AirbenchError, match="20 threads a trial: the largest node has 16 CPUs"):
        cluster((16, 0), threads=20).need(auto)
    with pytest.raises(AirbenchError, match="Ray knows no Apple GPUs"):
        plain.need(load_recipe("quickstart", ["engine.device=mps"]).recipe)
    with pytest.raises(AirbenchError, match="one kind of device"):
        same_need([Need(True, None), Need(False, 1)])


def test_the_package_is_sent_with_its_recipes(tmp_path: Path) -> None:
    copy = packed(tmp_path)
    assert (copy / "experiment" / "cluster" / "session.py").is_file()
    assert (copy / "configs" / "speedrun.yaml").is_file()
    assert not list(copy.rglob("__pycache__"))


def test_a_worker_keeps_the_recipes_that_it_used_last(few_shapes: object) -> None:
    worker = Worker(keep=2)
    first, second, third = (tiny("airbench94_muon.yaml", f"train.epochs={n}").recipe for n in (1, 2, 3))
    one, two = worker.setup(first), worker.setup(second)
    assert worker.setup(first) is one
    worker.setup(third)  # drops the second
    assert worker.setup(first) is one
    assert worker.setup(second) is not two


def test_every_command_of_the_page_is_understood() -> None:
    page = (CONFIGS.parent / "airbench" / "docs" / "ray.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines()]
    assert len(commands) >= 4
    for command in commands:
        if command.startswith("python -m airbench.benchmark.cluster"):
            continue
        options = build_parser().parse_args(shlex.split(command)[1:])
        assert options.ray is not None
        assert read_recipes(options)


def ordered(session: Session, recipe: Recipe, images: Dataset) -> bytes:
    """Give a worker the images of a recipe, and return an order of a trial of it."""
    session.datasets[images_key(recipe.data)] = images
    return pickle.dumps((TrialJob(recipe, 0, 0, path="mine.yaml"), Parcel(("", ""))))


def test_a_worker_says_what_a_recipe_is_refused_with(few_shapes: Dataset) -> None:
    """A sweep goes on without a recipe that does not fit the images; a device that is not there ends it."""
    session = Session({}, Place(0, 1, 1), None)
    for words, expected in (("train.batch_size=5000", RecipeError), ("engine.device=cuda:99", DeviceError)):
        order = ordered(session, tiny("airbench94_muon.yaml", words).recipe, few_shapes)
        kind, found = session.examine(order, [], False)
        assert kind == REFUSED
        assert type(pickle.loads(pickle.dumps(found))) is expected


def test_a_fault_while_a_worker_sets_up_is_an_answer(few_shapes: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another worker would have it as well: the head must not try again for ever."""

    def fault(*_: object, **__: object) -> None:
        raise NameError("name 'wdith' is not defined")

    session = Session({}, Place(0, 1, 1), None)
    order = ordered(session, tiny("airbench94_muon.yaml").recipe, few_shapes)
    monkeypatch.setattr("airbench.experiment.cluster.session.examine", fault)
    kind, found = session.examine(order, [], False)
    assert kind == REFUSED
    assert str(found) == "NameError: name 'wdith' is not defined"


def test_a_recipe_that_does_not_fit_into_a_workers_memory_has_failed(
    few_shapes: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: object) -> list[str]:
        raise TrialError("out of memory: lower train.batch_size")

    session = Session({}, Place(0, 1, 1), None)
    order = ordered(session, tiny("airbench94_muon.yaml").recipe, few_shapes)
    monkeypatch.setattr("airbench.experiment.worker.warm_up", exhausted)
    (answer,) = session.train(order, [], 0)
    assert answer[0] == OUTCOME
    assert answer[2:] == (None, "out of memory: lower train.batch_size")


def test_subsets_of_one_name_are_two_files_on_a_worker() -> None:
    session = Session({}, Place(0, 1, 1), None)
    found = []
    for content in (b"1\n2\n", b"3\n4\n"):
        path = f"/somewhere/{content[0]}/train.txt"
        recipe = load_recipe("airbench94_muon", [f"data.subset={path}"]).recipe
        resolved = session._resolved(recipe, Parcel(("", ""), files={path: content}))
        found.append(resolved)
    one, other = (Path(str(recipe.data.subset)) for recipe in found)
    assert one != other
    assert (one.read_bytes(), other.read_bytes()) == (b"1\n2\n", b"3\n4\n")


def test_threads_that_contradict_each_other_are_refused() -> None:
    recipe = load_recipe("quickstart", ["engine.device=cpu", "engine.threads=2"]).recipe
    assert cluster((8, 0), threads=2).need(recipe).threads == 2
    with pytest.raises(AirbenchError, match=r"--ray-threads 4: the recipe says engine.threads = 2; leave it out"):
        cluster((8, 0), threads=4).need(recipe)
