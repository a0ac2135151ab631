"""What a user gets wrong in a recipe is answered in one line: file, line, key, value, remedy."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airbench.errors import AirbenchError, RecipeError
from airbench.recipe import dump_recipe, load_recipe, load_recipes
from airbench.recipe.load import with_overrides
from airbench.recipe.plugins import load_plugin
from airbench.recipe.source import Node, merge, parse_override, parse_yaml
from tests.conftest import CONFIGS

MUON = CONFIGS / "records" / "airbench94_muon.yaml"


def write(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def error_of(path: Path, *overrides: str) -> str:
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("train.epoch=3", ["train.epoch = 3", "unknown key", "'epochs'"]),
        ("optimizers.filters.orthogonalize.stps=1", ["orthogonalize.stps", "'steps'"]),
        ("train.epochs=-1", ["train.epochs = -1", "greater than 0"]),
        ("train.epochs=.inf", ["train.epochs", "finite"]),
        ("train.epochs=.nan", ["train.epochs", "finite"]),
        ("train.epochs=many", ['train.epochs = "many"', "number"]),
        ("train.batch_size=2.5", ["train.batch_size = 2.5", "whole number"]),
        ("train.batch_size=true", ["train.batch_size = true", "whole number"]),
        ("net.widths=[1, 2, 3, 4]", ["net.widths", "at most 3"]),
        ("engine.device=gpu", ['engine.device = "gpu"', "cuda"]),
        ("optimizers.filters.name=adamsky", ["adamsky", "'sgd', 'adam', 'adamw'"]),
        ("optimizers.filters.orthogonalize.method=qr", ["orthogonalize.method = qr", "'svd', 'none'"]),
        ("optimizers.filters.orthogonalize.coefficients=[1, 2]", ["coefficients = [1, 2]", "three numbers"]),
        ("optimizers.filters.orthogonalize.coefficients=fast", ['coefficients = "fast"', "one of muon"]),
        ("optimizers.filters.orthogonalize={method: svd, steps: 3}", ["steps = 3", "valid keys: method"]),
        ("optimizers.filters.schedule={name: cosine, epochs: 1, fraction: 1}", ["not both"]),
        ("optimizers.filters.schedule={nme: linear}", ["schedule", "'name' is missing"]),
        ("optimizers.filters.name=muom", ["did you mean 'muon'?"]),
        ("optimizers.filter.lr=0.2", ["optimizers.filter: did you mean 'filters'?", "'name'"]),
        ("optimizers.other.lr=0.2", ["optimizers.other: 'name' is missing", "sgd, adam"]),
        ("optimizers.filters.orthogonalize=svd", ["did you mean optimizers.filters.orthogonalize.method=svd?"]),
        ("optimizers.filters.orthogonalize=foo", ["orthogonalize.method is one of", "svd"]),
        ("net=resnet18", ["did you mean net.name=resnet18?"]),
        ("data.augment.translat=2", ["data.augment.translat = 2: did you mean 'translate'?"]),
        ("data.augment.cuttout.size=2", ["did you mean 'cutout'?"]),
        ("data.augment.flip=sometimes", ["give 'none', 'random' or 'alternating'"]),
        (".".join(["a,b"] * 30) + "=1", ["stands for more than 100 settings"]),
        ("optimizers.head,head.lr=0.1", ["sets optimizers.head.lr twice"]),
        ("optimizers.filters.lr=0.1,0.2", ['= "0.1,0.2": give one number; airbench train --vary takes several']),
        ("evaluate.tta=mirror", ["give a list, in brackets"]),
        ("train=3", ["train = 3", "give settings"]),
        ("evaluate.tta=[mirror, spin]", ["evaluate.tta.1", "'mirror'"]),
        ("seeds.init=-1", ["seeds.init = -1"]),
        ("train.epochs", ["key.subkey=value"]),
        ("=3", ["key.subkey=value"]),
        ("train..epochs=3", ["key.subkey=value"]),
        ("train.epochs=[1", ["not valid YAML"]),
        ("extends=other.yaml", ["'extends' belongs in a recipe file"]),
        ("a." * 900 + "b=1", ["key.subkey=value"]),
        ("train.epochs=1e308", ["train.epochs = 1e+308", "less than or equal to 1000000"]),
        ("optimizers.filters.lr=1e39", ["optimizers.filters.lr", "less than or equal to 1"]),
        ("evaluate.batch_size=9223372036854775808", ["evaluate.batch_size", "1000000000"]),
        ("optimizers.filters.rescale.growth=1e308", ["rescale.growth", "1000000000"]),
        ("optimizers.filters.params=*.weight", ["needs quotes"]),
        ('train.epochs=!!int ""', ["train.epochs", "not a value of YAML's type int"]),
        ("target=!!bool maybe", ["target", "not a value of YAML's type bool"]),
        ('name="\\UFFFFFFFF"', ["not valid YAML"]),
    ],
)
def test_bad_override_names_command_line_key_value_and_remedy(override: str, expected: list[str]) -> None:
    message = error_of(MUON, override)
    assert message.startswith("command line: ")
    for part in expected:
        assert part in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("target: 0.9\ntrain:\n  epochz: 3\n", ["mine.yaml:3:", "train.epochz = 3", "'epochs'"]),
        ("target: 2\n", ["mine.yaml:1:", "target = 2", "less than or equal to 1"]),
        ("target: 0.9\ntarget: 0.8\n", ["mine.yaml:2:", "'target' is given twice", "line 1"]),
        ("target: [0.9\ndata: 3\n", ["mine.yaml:", "not valid YAML"]),
        ("- a\n- b\n", ["mine.yaml", "a mapping"]),
        ("", ["mine.yaml", "a mapping"]),
        ("just words", ["mine.yaml", "a mapping"]),
        ("target: 0.9\n", ["mine.yaml", "optimizers", "is missing"]),
        ("? [a, b]\n: 3\n", ["mine.yaml:1", "plain word"]),
        ("target: !!python/object:os.system x\n", ["mine.yaml", "not "]),
        ("train.epochs: 2\n", ["mine.yaml:1:", "train: {epochs: …}"]),
        ("train:\n  <<: {epochs: 2}\n", ["mine.yaml:2:", "extends: FILE"]),
        ("target: !!float ''\n", ["mine.yaml:1:", "YAML's type float"]),
        ("extends: airbench94_moun\n", ["mine.yaml:1:", "not found", "did you mean 'airbench94_muon'?"]),
        ("extends: tiny\n", ["mine.yaml:1:", "tiny not found", "did you mean 'tiny.yaml'?"]),
        ("optimizers: {filters: {params: *.weight}}\n", ["mine.yaml:1:", "needs quotes"]),
    ],
)
def test_bad_file_names_file_line_key_value_and_remedy(tmp_path: Path, text: str, expected: list[str]) -> None:
    write(tmp_path, "target: 0.9", "tiny.yaml")
    message = error_of(write(tmp_path, text))
    for part in expected:
        assert part in message


def test_a_section_whose_lines_are_all_commented_out_is_as_if_it_were_not_there(tmp_path: Path) -> None:
    text = f"extends: {MUON.resolve()}\n"
    empty = load_recipe(write(tmp_path, text + "train:\n  # epochs: 2\ndata:\n")).recipe
    assert empty == load_recipe(write(tmp_path, text)).recipe


def test_a_parent_below_the_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path, f"extends: {MUON.resolve()}\ntarget: 0.5\n", "parent.yaml")
    assert load_recipe(write(tmp_path, "extends: ~/parent.yaml\n")).recipe.target == 0.5


def test_aliases_that_stand_for_millions_of_values_are_refused_at_once(tmp_path: Path) -> None:
    levels = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    levels += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    assert "values, aliases included" in error_of(write(tmp_path, "\n".join(levels)))


def test_missing_file_lists_the_recipes_beside_it(tmp_path: Path) -> None:
    write(tmp_path, "target: 0.9", "right.yaml")
    message = error_of(tmp_path / "wrong.yaml")
    assert "no such file" in message
    assert "right.yaml" in message


def test_folder_and_binary_file_are_refused(tmp_path: Path) -> None:
    assert "folder" in error_of(tmp_path)
    binary = tmp_path / "x.yaml"
    binary.write_bytes(b"\xff\xfe\x00\x01")
    assert "UTF-8" in error_of(binary)


def test_error_in_an_inherited_key_names_the_parent_file(tmp_path: Path) -> None:
    write(tmp_path, f"extends: {MUON}\ntrain: {{epochs: -3}}\n", "parent.yaml")
    child = write(tmp_path, "extends: parent.yaml\ntarget: 0.9\n")
    assert "parent.yaml:2: train.epochs = -3" in error_of(child)


def test_extends_merges_deeply_and_keeps_the_rest(tmp_path: Path) -> None:
    child = write(tmp_path, f"extends: {MUON}\noptimizers: {{filters: {{orthogonalize: {{steps: 1}}}}}}\n")
    mine, parent = load_recipe(child).recipe, load_recipe(MUON).recipe
    assert mine.optimizers["filters"].orthogonalize.steps == 1  # type: ignore[union-attr]
    assert mine.optimizers["filters"].lr == parent.optimizers["filters"].lr
    assert mine.optimizers["head"] == parent.optimizers["head"]
    assert mine.name == "mine"
    assert mine.description == ""


def test_extends_in_a_circle_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "extends: b.yaml\n", "a.yaml")
    write(tmp_path, "extends: a.yaml\n", "b.yaml")
    assert "circle" in error_of(tmp_path / "a.yaml")
    write(tmp_path, "extends: self.yaml\n", "self.yaml")
    assert "circle" in error_of(tmp_path / "self.yaml")


def test_extends_of_nothing_and_of_a_list(tmp_path: Path) -> None:
    assert "gone.yaml not found" in error_of(write(tmp_path, "extends: gone.yaml\n"))
    assert "mine.yaml:1" in error_of(write(tmp_path, "extends: [a, b]\n"))


def test_null_removes_an_inherited_group() -> None:
    recipe = load_recipe(MUON, ["optimizers.whiten_bias=null"]).recipe
    assert "whiten_bias" not in recipe.optimizers


def test_new_group_is_asked_before_inherited_ones() -> None:
    recipe = load_recipe(MUON, ["optimizers.first={params: whiten.bias, name: sgd, lr: 0.1}"]).recipe
    assert next(iter(recipe.optimizers)) == "first"


def test_changing_the_optimizer_starts_its_settings_over() -> None:
    message = error_of(MUON, "optimizers.filters={name: sgd}")
    assert "optimizers.filters.lr is missing" in message
    recipe = load_recipe(MUON, ["optimizers.filters={name: sgd, lr: 0.1, params: '*conv?.weight'}"]).recipe
    filters = recipe.optimizers["filters"]
    assert (filters.name, filters.params) == ("sgd", "*conv?.weight")


def test_a_message_on_a_setting_is_placed_where_it_was_written(tmp_path: Path) -> None:
    path = write(tmp_path, "extends: airbench94_muon\ntrain:\n  epochs: 3\n")
    loaded = load_recipe(path, ["net.widths=[8,8,8]"])
    assert loaded.place_of("train.epochs = 3: too few") == f"{path}:3"
    assert loaded.place_of("net.widths = [8, 8, 8]: too narrow") == "command line"
    assert loaded.place_of("optimizers.filters.lr = 0.24: too high").endswith("airbench94_muon.yaml:20")
    assert loaded.place_of("optimizers.filters.weight_decay = 0: a default").endswith("airbench94_muon.yaml:17")
    assert loaded.place_of("no setting at all") == str(path)
    changed = load_recipe(MUON, ["optimizers.filters.lr=0.1"])  # the section is where it was
    assert changed.place_of("optimizers.filters: muon trains matrices") == f"{MUON}:17"
    assert changed.place_of("optimizers: no group matches") == f"{MUON}:16"
    assert changed.place_of("optimizers.filters.lr = 0.1: too low") == "command line"
    begun_anew = load_recipe(MUON, ["optimizers.filters={name: sgd, lr: 0.1, params: '*conv*.weight'}"])
    assert begun_anew.place_of("optimizers.filters: another optimizer") == "command line"
    again = with_overrides(loaded, ["optimizers.filters.lr=0.1"])
    assert again.place_of("optimizers.filters.lr = 0.1: too low") == "command line"
    assert again.place_of("train.epochs = 3: too few") == f"{path}:3"


def test_an_override_of_several_names_sets_each_of_them() -> None:
    tied = load_recipe(MUON, ["optimizers.head,biases.lr=0.02"]).recipe
    apart = load_recipe(MUON, ["optimizers.head.lr=0.02", "optimizers.biases.lr=0.02"]).recipe
    assert tied == apart
    assert tied.optimizers["head"].lr == tied.optimizers["biases"].lr == 0.02
    assert tied.optimizers["filters"].lr == 0.24


@pytest.mark.parametrize("override", ["optimizers.head,.lr=0.02", "optimizers.,.lr=0.02", ",=1"])
def test_a_name_left_out_between_commas_is_refused(override: str) -> None:
    assert "is not of the form key.subkey=value" in error_of(MUON, override)


def test_overrides_are_typed_as_yaml() -> None:
    recipe = load_recipe(MUON, ["train.epochs=1e1", "data.path=null", "net.widths=[1,2]", "name=it"]).recipe
    assert recipe.train.epochs == 10.0
    assert recipe.net.widths == (1, 2)
    assert recipe.name == "it"


@pytest.mark.parametrize("text", ["1e-4", "1.e-4", "0.0001", "+1E-4", "1.0e-4"])
def test_every_common_spelling_of_a_float_is_a_float(text: str) -> None:
    assert parse_yaml(f"x: {text}", "f").plain() == {"x": 1e-4}


@pytest.mark.parametrize(("text", "value"), [("010", "010"), ("0", 0), ("-12", -12), ("1_000", 1000), ("1:30", "1:30")])
def test_numbers_mean_what_they_look_like(text: str, value: object) -> None:
    assert parse_yaml(f"x: {text}", "f").plain() == {"x": value}


def test_a_list_of_epochs_is_a_recipe_of_each_length(tmp_path: Path) -> None:
    file = write(tmp_path, f"extends: {MUON}\ntrain: {{epochs: [2, 4.5]}}\n")
    short, long = load_recipes(file)
    assert (short.recipe.name, short.recipe.train.epochs) == ("mine-2ep", 2)
    assert (long.recipe.name, long.recipe.train.epochs) == ("mine-4.5ep", 4.5)
    assert short.recipe.optimizers == long.recipe.optimizers
    assert [r.recipe.name for r in load_recipes(MUON)] == ["airbench94_muon"]
    with pytest.raises(RecipeError, match=r"train.epochs = -1"):
        load_recipes(MUON, ["train.epochs=[2, -1]"])
    with pytest.raises(RecipeError, match="give a number, or a list"):
        load_recipes(MUON, ["train.epochs=[]"])


def test_recipe_is_frozen() -> None:
    recipe = load_recipe(MUON).recipe
    with pytest.raises(ValueError, match="frozen"):
        recipe.target = 0.5  # type: ignore[misc]


@pytest.mark.parametrize("config", sorted(CONFIGS.glob("*.yaml")), ids=lambda p: p.name)
def test_dumped_recipe_loads_as_the_same_recipe(config: Path, tmp_path: Path) -> None:
    recipe = load_recipe(config).recipe
    assert load_recipe(write(tmp_path, dump_recipe(recipe), "resolved.yaml")).recipe == recipe


trees = st.recursive(
    st.integers(-5, 5),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


def node(tree: object) -> Node:
    return Node({k: node(v) for k, v in tree.items()}, "f") if isinstance(tree, dict) else Node(tree, "f")  # type: ignore[arg-type]


@given(st.dictionaries(st.sampled_from("abc"), trees), st.dictionaries(st.sampled_from("abc"), trees))
def test_merge_is_idempotent_and_the_upper_layer_wins(base: dict[str, object], over: dict[str, object]) -> None:
    merged = merge(node(base), node(over))
    assert merge(merged, node(over)).plain() == merged.plain()
    for key, value in over.items():
        if not isinstance(value, dict):
            assert merged.plain()[key] == value


def refusal(read: Callable[[], object]) -> str | None:
    """What is said if the input is refused; anything but RecipeError is a failure."""
    try:
        read()
    except RecipeError as error:
        return str(error)
    return None


@given(st.text(max_size=40))
def test_any_text_parses_or_is_refused_in_one_line(text: str) -> None:
    said = refusal(lambda: parse_yaml(text, "f.yaml"))
    assert said is None or (said.startswith("f.yaml") and "\n" not in said)


@given(st.text(st.characters(blacklist_categories=("Cc", "Zl", "Zp")), max_size=30))
def test_any_override_parses_or_is_refused_in_one_line(text: str) -> None:
    said = refusal(lambda: parse_override(text))
    assert said is None or (said.startswith("command line: ") and "\n" not in said)


def test_another_way_to_orthogonalise_or_another_optimizer_starts_over_but_for_whom_it_trains() -> None:
    svd = load_recipe(MUON, ["optimizers.filters.orthogonalize.method=svd"]).recipe.optimizers["filters"]
    assert svd.orthogonalize.model_dump() == {"split": 1, "method": "svd"}  # type: ignore[union-attr]
    assert svd.lr == 0.24
    qkv = load_recipe("muon", ["optimizers.qkv.orthogonalize.method=svd"]).recipe.optimizers["qkv"]
    assert qkv.orthogonalize.model_dump() == {"split": 3, "method": "svd"}  # type: ignore[union-attr]
    head = CONFIGS / "ablations" / "muon_head.yaml"
    assert load_recipe(head, ["optimizers.head.orthogonalize.method=svd"]).recipe.optimizers["head"].lr == 0.24
    adam = load_recipe(MUON, ["optimizers.filters.name=adam", "optimizers.filters.lr=0.004"]).recipe.optimizers
    assert adam["filters"].name == "adam"
    assert (adam["filters"].params, adam["filters"].lr) == ("*conv*.weight", 0.004)
    assert next(iter(adam)) == "filters"


@pytest.mark.parametrize("coefficients", ["hiverge", [1.0, 2.0, 3.0], [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]])
def test_coefficients_survive_a_round_trip(coefficients: object, tmp_path: Path) -> None:
    first = load_recipe(MUON, [f"optimizers.filters.orthogonalize.coefficients={json.dumps(coefficients)}"]).recipe
    (tmp_path / "r.yaml").write_text(dump_recipe(first))
    assert load_recipe(tmp_path / "r.yaml").recipe == first


@pytest.mark.parametrize("order", [1, -1])
def test_the_order_of_overrides_does_not_matter(order: int) -> None:
    swap = ["optimizers.filters.name=adamw", "optimizers.filters.lr=0.003", "name=mine"][::order]
    filters = load_recipe(MUON, swap).recipe.optimizers["filters"]
    assert (filters.name, filters.lr, filters.params) == ("adamw", 0.003, "*conv*.weight")
    root = ["optimizers.filters.orthogonalize.method=inverse_sqrt", "optimizers.filters.orthogonalize.steps=20"][
        ::order
    ]
    orthogonalize = load_recipe(MUON, root).recipe.optimizers["filters"].orthogonalize  # type: ignore[union-attr]
    assert (orthogonalize.method, orthogonalize.steps) == ("inverse_sqrt", 20)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("name=2024", """name = 2024: give text: name="'2024'\""""),
        ("train.batch_size=250.0", "train.batch_size = 250.0: give a whole number without a decimal point: 250"),
        ("train.batch_size=two", 'train.batch_size = "two": give a whole number'),
        ("target=high", 'target = "high": give a number'),
        ("engine.fused=1", "engine.fused = 1: give true or false"),
    ],
)
def test_a_value_of_another_type_is_answered_in_plain_words(override: str, message: str) -> None:
    with pytest.raises(RecipeError) as error:
        load_recipe(CONFIGS / "records" / "airbench94_muon.yaml", [override])
    assert str(error.value) == f"command line: {message}"


def test_lengths_in_a_list_of_lists_are_refused_by_name() -> None:
    with pytest.raises(RecipeError, match=r"train.epochs = \[\[1, 2\]\]: give numbers, such as \[4, 8\]"):
        load_recipes(CONFIGS / "records" / "airbench94_muon.yaml", ["train.epochs=[[1,2]]"])


def test_settings_that_contradict_each_other_are_named_without_the_whole_recipe() -> None:
    with pytest.raises(RecipeError) as error:
        load_recipe(CONFIGS / "ablations" / "svd.yaml", ["engine.cuda_graph=true"])
    assert re.fullmatch(
        r"\S*svd\.yaml: engine\.cuda_graph cannot capture orthogonalize\.method = svd, of optimizers\.filters",
        str(error.value),
    )


def test_a_loop_of_links_is_answered_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").symlink_to("b.yaml")
    (tmp_path / "b.yaml").symlink_to("a.yaml")
    (tmp_path / "c.yaml").write_text("extends: a.yaml\n")
    with pytest.raises(RecipeError, match=r"a\.yaml: cannot be read: Too many levels"):
        load_recipe(tmp_path / "a.yaml")
    with pytest.raises(RecipeError, match=r"c\.yaml:1: extends: .*a\.yaml not found"):
        load_recipe(tmp_path / "c.yaml")
    with pytest.raises(AirbenchError, match=r"a\.yaml"):
        load_plugin(tmp_path / "a.yaml")


def test_another_data_set_keeps_the_augmentations_that_are_not_overridden() -> None:
    recipe = load_recipe(MUON, ["data.name=shapes", "data.augment.translate=0"]).recipe
    assert list(recipe.data.augment) == ["flip", "translate"]
    assert recipe.data.augment["translate"].pixels == 0  # type: ignore[attr-defined]


def test_another_data_set_keeps_which_images_are_trained_on_and_held_out_but_not_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        f"extends: {MUON}\ndata: {{name: cifar10, path: cifar10.tgz, held_out: 5000, train_images: 20000}}\n"
    )
    other = load_recipe(tmp_path / "mine.yaml", ["data.name=cifar100"]).recipe.data
    assert (other.held_out, other.train_images, other.path) == (5000, 20000, None)
    fewer = load_recipe(tmp_path / "mine.yaml", ["data.name=cifar100", "data.held_out=100"]).recipe.data
    assert fewer.held_out == 100
    subset = with_overrides(load_recipe(MUON, ["data.subset=hard.txt"]), ["data.name=shapes"]).recipe.data
    assert subset.subset == "hard.txt"


@pytest.mark.parametrize("crop", ["translate: 2", "random_crop: 4"])
def test_a_crop_comes_before_all_augmentations_but_flips(crop: str, tmp_path: Path) -> None:
    """The loader crops first, whatever the order."""

    def augmented(augment: str) -> Path:
        return write(
            tmp_path, f"data: {{augment: {{{augment}}}}}\noptimizers: {{all: {{params: '*', name: sgd, lr: 1}}}}\n"
        )

    name, rest = crop.partition(":")[0], "mixup: 0.2, color_jitter: {brightness: 0.1}"
    load_recipe(augmented(f"flip: random, {crop}, {rest}"))
    load_recipe(augmented(f"{crop}, {rest}, flip: random"))
    for augment, before in (
        (f"cutout: 4, {crop}", "cutout"),
        (f"flip: random, {rest}, {crop}", "mixup and color_jitter"),
    ):
        with pytest.raises(RecipeError, match=rf"augment: images are cropped first; put {name} before {before}"):
            load_recipe(augmented(augment))


def test_color_jitter_without_either_number_is_refused_but_not_with_zeros(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="give brightness, contrast or both"):
        load_recipe(MUON, ["data.augment.color_jitter={}"])
    recipe = load_recipe(MUON, ["data.augment.color_jitter={contrast: 0}"]).recipe
    (tmp_path / "r.yaml").write_text(dump_recipe(recipe))
    assert load_recipe(tmp_path / "r.yaml").recipe == recipe


def test_an_unknown_home_folder_is_answered_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("extends: ~nobody-by-this-name/tiny.yaml\n")
    with pytest.raises(RecipeError, match=r"mine\.yaml:1: extends: ~nobody.*: no such user's home folder"):
        load_recipe(tmp_path / "mine.yaml")
    with pytest.raises(RecipeError, match="no such user's home folder"):
        load_plugin("~nobody-by-this-name/plugin.py")


def test_a_recipe_that_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    for path in (tmp_path / "pipe.yaml", Path("/dev/zero")):
        with pytest.raises(RecipeError, match="not a regular file; save the recipe in one"):
            load_recipe(path)
    (tmp_path / "large.yaml").write_text("description: " + "x" * 1_000_001)
    with pytest.raises(RecipeError, match="not a recipe: larger than 1000 kB"):
        load_recipe(tmp_path / "large.yaml")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("train: 5", r"train = 5: give settings, as `key: value` lines or \{key: value\}"),
        ("train: [1]", "give settings"),
        ("optimizers: {x: {params: *weight}}", r"text that begins with '\*' or '&' needs quotes"),
        ("train: {batch_size: '250'}", "give a number, without quotes: 250"),
        ("engine: {device: 'cuda:x'}", "give auto, cpu, mps, cuda, or cuda and a number, as in cuda:1"),
        ("train: {epochs: [4, 8, 4]}", "4 is listed twice"),
    ],
)
def test_what_is_written_wrongly_is_answered_with_what_to_write(text: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(f"extends: airbench94_muon\n{text}\n")
    with pytest.raises(RecipeError, match=why):
        load_recipes(tmp_path / "mine.yaml")


@pytest.mark.parametrize(
    ("override", "why"),
    [
        ("optimizers.fliters=null", "optimizers.fliters = null: nothing to remove; did you mean 'filters'?"),
        ("data.augment.flipp=null", "data.augment.flipp = null: nothing to remove; did you mean 'flip'?"),
        ("optimizers.x=null", "optimizers.x = null: nothing to remove; there are: filters, whiten_bias, biases, head"),
    ],
)
def test_a_null_that_removes_nothing_is_a_typo(override: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=re.escape(f"command line: {why}")):
        load_recipe(MUON, [override])
    section, _, entry = override.removesuffix("=null").rpartition(".")
    inner = f"{{{entry}: null}}"
    for step in reversed(section.split(".")):
        inner = f"{{{step}: {inner}}}"
    file = tmp_path / "ablation.yaml"
    file.write_text(f"extends: airbench94_muon\n{inner[1:-1]}\n")
    with pytest.raises(RecipeError, match=re.escape(f"{file}:2: {why}")):
        load_recipe(file)


def test_an_augmentation_that_a_recipe_lacks_may_be_null() -> None:
    assert load_recipe(MUON, ["data.augment.color_jitter=null"]).recipe == load_recipe(MUON).recipe
