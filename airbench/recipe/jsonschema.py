"""The JSON Schema of recipe files, for editors that complete and check YAML while it is typed.

``python -m airbench.recipe.jsonschema > configs/recipe.schema.json`` writes it anew.
"""

import json
from typing import Any

from airbench.recipe.schema import Recipe
from airbench.recipe.transforms import TRANSFORMS, TransformConfig


def recipe_json_schema() -> dict[str, Any]:
    """The schema of a recipe *file*: nothing is required, since what a file leaves out it may inherit."""
    schema = Recipe.model_json_schema()
    schema["properties"]["extends"] = {
        "type": "string",
        "description": "Another recipe, relative to this file, that this one starts from.",
    }
    schema["title"] = "airbench recipe"
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    loose: dict[str, Any] = _loosen(schema)
    epochs = loose["$defs"]["Train"]["properties"]["epochs"]
    number = {key: epochs.pop(key) for key in ("type", "exclusiveMinimum")}
    epochs["anyOf"] = [number, {"type": "array", "items": number, "minItems": 1}]
    groups = loose["properties"]["optimizers"]
    groups["additionalProperties"] = {"anyOf": [groups["additionalProperties"], {"type": "null"}]}
    augment = loose["$defs"]["Data"]["properties"]["augment"]
    augment["properties"] = {name: _augmentation(loose, name) for name in TRANSFORMS}
    augment["additionalProperties"] = {"anyOf": [augment["additionalProperties"], {"type": "null"}]}
    return loose


def _augmentation(schema: dict[str, Any], name: str) -> dict[str, Any]:
    """Return what may stand under an augmentation's name: its settings, the value of the main one, or null."""
    config = TRANSFORMS[name].config
    assert issubclass(config, TransformConfig)
    choices: list[dict[str, Any]] = [{"$ref": f"#/$defs/{config.__name__}"}, {"type": "null"}]
    if config.shorthand:
        choices.append(schema["$defs"][config.__name__]["properties"][config.shorthand])
    return {"anyOf": choices, "description": config.__doc__}


def _loosen(part: Any) -> Any:
    if isinstance(part, list):
        return [_loosen(item) for item in part]
    if not isinstance(part, dict):
        return part
    kept = {
        key: _loosen(value)
        for key, value in part.items()
        if key != "discriminator" and not (key == "required" and isinstance(value, list))
    }
    if "oneOf" in kept:  # without required keys several members of a union may fit
        kept["anyOf"] = kept.pop("oneOf")
    return kept


def recipe_json_schema_text() -> str:
    """The text of ``configs/recipe.schema.json``."""
    return json.dumps(recipe_json_schema(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(recipe_json_schema_text(), end="")
