"""Every recipe that the schema accepts trains, or says in one line why not: recipes drawn from the schema itself."""

import json
from typing import Any

import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from airbench.data.dataset import Dataset
from airbench.device import Machine
from airbench.errors import RecipeError, TrialError
from airbench.recipe import load_recipe
from airbench.recipe.schema import Recipe
from airbench.recipe.transforms import TRANSFORMS
from airbench.training.loop import run_trial
from airbench.training.results import TrialSeeds
from airbench.training.setup import TrialSetup
from tests.conftest import CONFIGS, TINY

SCHEMA = Recipe.model_json_schema()
COSTLY = {"steps", "every", "pixels", "padding", "size", "batch_size", "images"}
"""Integers whose upper bound would only take long."""
UNFIT = ("params", "qk_clip")
"""Settings that depend on the net: patterns of names, and the bound on the logits of an attention, which this net has
not."""


def values(node: dict[str, Any], key: str = "") -> st.SearchStrategy[Any]:
    """Draw values that a node of the JSON schema accepts, often from the ends of its range."""
    if "$ref" in node:
        return values(SCHEMA["$defs"][node["$ref"].rpartition("/")[2]], key)
    for union in ("anyOf", "oneOf"):
        if union in node:
            return st.one_of([values(each, key) for each in node[union]])
    if "const" in node or "enum" in node:
        return st.sampled_from(node.get("enum", [node.get("const")]))
    match node.get("type"):
        case "object":
            return objects(node)
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case "integer":
            low, high = node.get("minimum", 0), node.get("maximum", 8)
            return st.sampled_from([low, min(low + 1, high), min(4, high), 4 if key in COSTLY else high])
        case "number":
            return numbers(node)
        case "array":
            prefix = node.get("prefixItems")
            if prefix:
                return st.tuples(*(values(item) for item in prefix)).map(list)
            low = node.get("minItems", 0)
            items = values(node.get("items", {"type": "number"}))
            return st.lists(items, min_size=low, max_size=min(node.get("maxItems", low + 2), low + 2))
        case _:
            return st.nothing()


def numbers(node: dict[str, Any]) -> st.SearchStrategy[float]:
    low = node.get("minimum", node.get("exclusiveMinimum", -1.0))
    high = node.get("maximum", node.get("exclusiveMaximum", 1.0))
    inside = [low, high, min(1.0, high), low + 1e-30, min(0.5, high), min(1e3, high)]
    return st.sampled_from(
        [x for x in inside if x > node.get("exclusiveMinimum", low - 1) and x < node.get("exclusiveMaximum", high + 1)]
    )


def objects(node: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Draw an object with the keys that it needs, its kind, and some of the others."""
    needed = {*node.get("required", ()), *({"name", "method"} & node.get("properties", {}).keys())}
    parts = {key: values(part, key) for key, part in node.get("properties", {}).items() if key not in UNFIT}
    parts = {key: part for key, part in parts.items() if not part.is_empty}
    return st.fixed_dictionaries(
        {key: part for key, part in parts.items() if key in needed},
        optional={key: part for key, part in parts.items() if key not in needed},
    )


def section(name: str) -> st.SearchStrategy[Any]:
    return values(SCHEMA["properties"][name], name)


def group() -> st.SearchStrategy[Any]:
    return values(SCHEMA["properties"]["optimizers"]["additionalProperties"])


def augmentations() -> dict[str, st.SearchStrategy[Any]]:
    return {name: values(SCHEMA["$defs"][TRANSFORMS[name].config.__name__]) for name in TRANSFORMS}


def overrides() -> st.SearchStrategy[list[str]]:
    """Draw settings of every section but those that make a training long or large."""
    drawn = {
        "optimizers.filters": group(),
        "optimizers.biases": group(),
        "optimizers.head": group(),
        "data.augment": st.fixed_dictionaries({}, optional=augmentations()),
        "evaluate": section("evaluate"),
        "lookahead": section("lookahead"),
        "net.whiten": values(SCHEMA["$defs"]["CifarNet"]["properties"]["whiten"]),
        "net.activation": values(SCHEMA["$defs"]["CifarNet"]["properties"]["activation"]),
        "train.label_smoothing": values(SCHEMA["$defs"]["Train"]["properties"]["label_smoothing"]),
    }
    return st.fixed_dictionaries({}, optional=drawn).map(
        lambda chosen: [f"{key}={json.dumps(value)}" for key, value in chosen.items()]
    )


@settings(max_examples=40, deadline=None, phases=[Phase.generate])
@given(words=overrides())
def test_a_recipe_that_loads_trains_or_says_why_not(words: list[str], small_shapes: Dataset) -> None:
    small = [word for word in TINY if not word.startswith(("net.whiten", "train.epochs", "evaluate"))]
    try:
        recipe = load_recipe(
            CONFIGS / "records" / "airbench94_muon.yaml",
            [*small, *words, "net.whiten.images=100", "train.epochs=0.25", "evaluate.batch_size=64"],
        ).recipe
        setup = TrialSetup(recipe, small_shapes, Machine(torch.device("cpu"), torch.float32))
        run_trial(setup, TrialSeeds(0, 0, 0))
    except (RecipeError, TrialError) as error:
        reason = str(error)
    else:
        reason = ""
    assert "\n" not in reason
