"""What the page on extending says works: each component on it is registered from outside and trains from YAML."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from airbench.cli import main
from airbench.data.dataset import Dataset
from airbench.recipe import load_recipe, plugins
from airbench.recipe.data import DATASETS
from airbench.recipe.nets import NETS
from airbench.recipe.optimizers import OPTIMIZERS
from airbench.recipe.plugins import plugin_options
from airbench.recipe.schedules import SCHEDULES
from airbench.recipe.transforms import TRANSFORMS
from airbench.runs import read_run
from tests.conftest import CONFIGS

PAGE = (CONFIGS.parent / "airbench" / "docs" / "extending.md").read_text(encoding="utf-8")
SECTIONS = re.findall(r"^## An? (.*?)\n.*?```python\n(.*?)```.*?```yaml\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE)
REGISTRIES = (DATASETS, NETS, OPTIMIZERS, SCHEDULES, TRANSFORMS)
SHORT = ("train.batch_size=50", "data.train_images=100", "train.epochs=1", "evaluate.tta=[]", "net.whiten.images=50")


@pytest.fixture
def clean_registries() -> Iterator[None]:
    """Remove what a plugin added."""
    before = [set(registry) for registry in REGISTRIES]
    yield
    for registry, names in zip(REGISTRIES, before, strict=True):
        for added in set(registry) - names:
            registry.remove(added)
    plugins._loaded.clear()


def test_the_page_has_all_five_kinds() -> None:
    assert [kind for kind, _, _ in SECTIONS] == ["optimizer", "schedule", "augmentation", "net", "data set"]


@pytest.mark.parametrize(("kind", "code", "recipe"), SECTIONS, ids=[kind for kind, _, _ in SECTIONS])
def test_component_of_the_page_trains_two_steps(
    kind: str, code: str, recipe: str, few_shapes: Dataset, clean_registries: None, tmp_path: Path
) -> None:
    assert len(code.splitlines()) <= 30
    (tmp_path / "mine.py").write_text(code, encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(recipe, encoding="utf-8")
    overrides = [word for word in SHORT if not (kind == "net" and word.startswith("net."))]
    if kind != "net":
        overrides.append("net.widths=[4,8,8]")
    if kind != "data set":
        overrides.append("data.name=shapes")
    out = tmp_path / "runs"
    command = [
        "train",
        str(tmp_path / "mine.yaml"),
        *overrides,
        "--plugin",
        str(tmp_path / "mine.py"),
        "--device",
        "cpu",
    ]
    assert main([*command, "--out", str(out)]) == 0
    (folder,) = out.iterdir()
    run = read_run(folder)
    assert run.fact("steps") == 2
    assert len(run.finished) == 1
    assert list(run.fact("source", "plugins")) == ["mine.py"]
    assert run.fact("source", "committed") is False
    (folder / "trials.jsonl").write_text("")
    assert main(["resume", str(folder), "--plugin", str(tmp_path / "mine.py")]) == 0
    assert [trial.accuracy for trial in read_run(folder).trials] == [run.finished[0].accuracy]


def page_of(kind: str, folder: Path, mistake: tuple[str, str] = ("", "")) -> tuple[str, str]:
    """Write plugin and recipe of ``kind``, as the page has them but for a ``mistake``; return their paths."""
    code, recipe = next((code, recipe) for each, code, recipe in SECTIONS if each == kind)
    (folder / "mine.py").write_text(code.replace(*mistake), encoding="utf-8")
    (folder / "mine.yaml").write_text(recipe, encoding="utf-8")
    return str(folder / "mine.py"), str(folder / "mine.yaml")


def line_of(text: str, file: str) -> int:
    """Return the number of the first line with ``text``, from 1."""
    return next(n for n, line in enumerate(Path(file).read_text(encoding="utf-8").splitlines(), 1) if text in line)


@pytest.mark.parametrize("command", ["profile", "scaling"])
def test_a_net_of_the_users_is_measured(
    command: str, clean_registries: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin, recipe = page_of("net", tmp_path)
    words = [recipe, "train.batch_size=8", "net.width=4", "--device", "cpu"]
    assert main([command, *words, "--plugin", plugin]) == 0
    output = capsys.readouterr().out
    expected = {"profile": ("\n1 ", "a whole step"), "scaling": ("batch size", "side of an image")}[command]
    assert all(each in output for each in expected)
    assert "width" not in output


def test_a_mistake_in_a_plugin_is_told_with_file_and_line(
    clean_registries: None, few_shapes: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin, recipe = page_of("net", tmp_path, ("pixels, config.width)", "pixels, config.wdith)"))
    line = line_of("wdith", plugin)
    words = [word for word in SHORT if not word.startswith("net.")]
    assert main(["train", recipe, *words, "data.name=shapes", "--plugin", plugin, "--out", str(tmp_path / "r")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"mine.py:{line}: AttributeError: " in error
    traceback = Path(error.strip().rpartition("the traceback is in ")[2])
    assert "Traceback" in traceback.read_text(encoding="utf-8")
    traceback.unlink()


def test_a_mistake_in_a_plugin_is_told_by_an_isolated_trial_too(
    clean_registries: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin, recipe = page_of("optimizer", tmp_path, (".sign_()", ".sgn_(1)"))
    line = line_of("sgn_(1)", plugin)
    words = [*SHORT, "net.widths=[4,8,8]", "data.name=shapes", "--device", "cpu", "--isolate", "--out", str(tmp_path)]
    assert main(["train", recipe, *words, "--plugin", plugin]) == 2
    assert f"airbench: {plugin}:{line}: TypeError: " in capsys.readouterr().err


def test_trials_with_a_plugin_are_trained_again_with_it_and_not_without(
    clean_registries: None, few_shapes: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin, recipe = page_of("optimizer", tmp_path)
    out = tmp_path / "runs"
    words = [*SHORT, "net.widths=[4,8,8]", "data.name=shapes", "--device", "cpu", "--out", str(out)]
    assert main(["train", recipe, *words, "--plugin", plugin]) == 0
    (folder,) = map(str, out.iterdir())
    capsys.readouterr()
    assert main(["verify", folder, "--rerun", "1", "--plugin", plugin]) == 1  # no record, as with every plugin
    assert "equal to the last bit" in capsys.readouterr().out
    for name in set(OPTIMIZERS) & {"lion"}:
        OPTIMIZERS.remove(name)
    plugins._loaded.clear()
    assert main(["verify", folder, "--rerun", "1"]) == 2
    error = capsys.readouterr().err
    assert "trained with --plugin mine.py: give the same" in error
    assert main(["verify", folder, "--plugin", plugin]) == 2
    assert "belong to --rerun" in capsys.readouterr().err


def test_a_plugin_that_fails_says_so_in_one_line(
    tmp_path: Path, clean_registries: None, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = str(CONFIGS / "quickstart.yaml")
    (tmp_path / "broken.py").write_text("raise ValueError('no\\nway')\n")
    (tmp_path / "typo.py").write_text("x = 1\ny = = 2\n")
    for plugin, said in (
        ("broken.py", "broken.py:1: ValueError: no way"),
        ("typo.py", "typo.py:2: SyntaxError"),
        ("gone.py", "not a Python file"),
    ):
        assert main(["train", recipe, "--plugin", str(tmp_path / plugin)]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert said in error


def test_names_that_are_taken_or_do_not_match_are_refused() -> None:
    config = OPTIMIZERS["sgd"].config
    with pytest.raises(ValueError, match=r'needs name: Literal\["other"\]'):
        OPTIMIZERS.add("other", config, lambda *_: None)
    with pytest.raises(ValueError, match="must be new"):
        OPTIMIZERS.add("sgd", config, lambda *_: None)
    with pytest.raises(ValueError, match="the name is taken"):
        DATASETS.add("cifar10", DATASETS["cifar10"])


def test_a_net_whose_reset_leaves_something_is_refused(
    tmp_path: Path, clean_registries: None, few_shapes: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its value would be that of the trial before; and what a module is made with is not kept."""
    plugin, recipe = page_of("net", tmp_path)
    code = Path(plugin).read_text(encoding="utf-8")
    code = code.replace("nn.Flatten(), *layers", "nn.Flatten(), *layers, nn.LayerNorm(context.classes)")
    code = code.replace("for p in self.parameters():", "for p in list(self.parameters())[:-2]:")
    Path(plugin).write_text(code, encoding="utf-8")
    words = [word for word in SHORT if not word.startswith("net.")]
    assert main(["train", recipe, *words, "data.name=shapes", "--plugin", plugin, "--out", str(tmp_path / "r")]) == 2
    error = capsys.readouterr().err
    assert "net mlp: reset(generator) does not set 4.weight, 4.bias; it must set every weight and buffer" in error


def test_a_sweep_with_a_plugin_says_which_one_it_takes(
    few_shapes: Dataset, clean_registries: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin, recipe = page_of("optimizer", tmp_path)
    words = [*SHORT, "net.widths=[4,8,8]", "data.name=shapes", "--held-out", "100", "--out", str(tmp_path / "runs")]
    assert main(["sweep", recipe, *words, "--axis", "optimizers.head.lr=0.1,0.2", "--plugin", plugin]) == 0
    (sweep,) = (tmp_path / "runs").iterdir()
    page = ["--out", str(tmp_path / "page.md")]
    assert main(["report", str(sweep), "--plugin", plugin, *page]) == 0
    OPTIMIZERS.remove(load_recipe(recipe).recipe.optimizers["filters"].name)
    plugins._loaded.clear()
    capsys.readouterr()
    for command in (["report", str(sweep), *page], ["sweep", "--resume", str(sweep)]):
        assert main(command) == 2
        assert "trained with --plugin mine.py: give the same" in capsys.readouterr().err
    plugins._loaded["x"] = tmp_path / "a b.py"
    assert plugin_options() == f" --plugin '{tmp_path / 'a b.py'}'"


def test_a_net_without_a_logit_per_class_is_refused_before_it_trains(
    few_shapes: Dataset, clean_registries: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin, recipe = page_of("net", tmp_path, ("context.classes)", "context.classes + 1)"))
    words = ["data.name=shapes", "train.batch_size=50", "--plugin", plugin, "--out", str(tmp_path / "runs")]
    assert main(["train", recipe, *words]) == 2
    assert "the net's output for 2 images is (2, 11); for these classes it must be (2, 10)" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
