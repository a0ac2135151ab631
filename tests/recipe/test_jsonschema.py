"""The JSON Schema that editors read says what the loader accepts."""

import json
from typing import Any

from airbench.recipe.jsonschema import recipe_json_schema, recipe_json_schema_text
from airbench.recipe.shipped import shipped_recipes
from tests.conftest import CONFIGS


def test_shipped_schema_is_fresh() -> None:
    shipped = (CONFIGS / "recipe.schema.json").read_text()
    assert shipped == recipe_json_schema_text(), "run: make schema"


def test_every_config_names_the_schema() -> None:
    for config in shipped_recipes().values():
        depth = len(config.relative_to(CONFIGS).parts) - 1
        first = config.read_text().splitlines()[0]
        assert first == "# yaml-language-server: $schema=" + "../" * depth + "recipe.schema.json", config


def test_every_setting_is_explained() -> None:
    schema = recipe_json_schema()

    def walk(part: Any, path: str) -> None:
        for name, field in part.get("properties", {}).items():
            referred = schema["$defs"].get(field.get("$ref", "").rpartition("/")[2], {})
            assert field.get("description") or referred.get("description"), f"{path}.{name} has no description"

    walk(schema, "recipe")
    for name, part in schema["$defs"].items():
        walk(part, name)


def test_nothing_is_required_since_a_file_may_inherit() -> None:
    assert '"required"' not in json.dumps(recipe_json_schema())
