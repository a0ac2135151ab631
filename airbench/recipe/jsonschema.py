"""The JSON Schema of recipe files, for editors that complete and check YAML as you type.

``python -m airbench.recipe.jsonschema > configs/recipe.schema.json`` regenerates it.
"""

import json
from typing import Any

from airbench.recipe.schema import Recipe
from airbench.recipe.transforms import TRANSFORMS, TransformConfig


def recipe_json_schema() -> dict[str, Any]:
    """Return the schema of a recipe *file*. No key is required: a file may inherit what it leaves out."""
    schema = Recipe.model_json_schema()
    schema["properties"]["extends"] = {
        "type": "string",
        "description": "Path of the recipe that this one extends, relative to this file.",
    }
    schema["title"] = "airbench recipe"
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    loose: dict[str, Any] = _loosen(schema)
    epochs = loose["$defs"]["Train"]["properties"]["epochs"]
    number = {key: epochs.pop(key) for key in ("type", "exclusiveMinimum", "maximum")}
    epochs["anyOf"] = [number, {"type": "array", "items": number, "minItems": 1}]
    groups = loose["properties"]["optimizers"]
    groups["additionalProperties"] = {"anyOf": [groups["additionalProperties"], {"type": "null"}]}
    augment = loose["$defs"]["Data"]["properties"]["augment"]
    augment["properties"] = {name: _augmentation(loose, name) for name in TRANSFORMS}
    augment["additionalProperties"] = {"anyOf": [augment["additionalProperties"], {"type": "null"}]}
    return loose


def _augmentation(schema: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the schema of an augmentation's entry: its settings, the value of its shorthand setting, or null."""
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
    if "oneOf" in kept:  # with no key required, several members of a union may match
        kept["anyOf"] = kept.pop("oneOf")
    return kept


def recipe_json_schema_text() -> str:
    """Return the text of ``configs/recipe.schema.json``."""
    return json.dumps(recipe_json_schema(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(recipe_json_schema_text(), end="")
