"""Load a validated Recipe from a YAML file and overrides; report errors in one line."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import get_args

import yaml
from pydantic.fields import FieldInfo

from airbench.errors import RecipeError, nearest
from airbench.recipe.explain import models_in, show, validate
from airbench.recipe.moved import move_settings
from airbench.recipe.schema import Recipe
from airbench.recipe.shipped import find_shipped, locate, shipped_recipes
from airbench.recipe.source import COMMAND_LINE, Node, merge, parse_override, parse_yaml, read_yaml
from airbench.recipe.transforms import TRANSFORMS, TransformConfig


@dataclass(frozen=True)
class LoadedRecipe:
    """A recipe and the file that it was read from, for later error messages."""

    recipe: Recipe
    path: Path
    moved: tuple[tuple[str, str], ...] = ()
    """Settings given under the path that they had in older recipes, as (old, new) paths."""
    places: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    """Where each setting was written, by its key: file and line, or the command line."""

    def place_of(self, message: str) -> str:
        """Return where the setting was written that ``message`` begins with; the recipe's file for any other."""
        begins = re.match(r"[\w.-]+", message)
        steps = begins[0].split(".") if begins else []
        keys = (".".join(steps[:n]) for n in range(len(steps), 0, -1))
        return next((self.places[key] for key in keys if key in self.places), str(self.path))


def load_recipe(path: str | Path, overrides: Sequence[str | Node] = ()) -> LoadedRecipe:
    """Read the recipe at ``path``, resolve its ``extends``, apply ``a.b=value`` overrides, and validate it.

    ``path`` may also be the name of a shipped recipe, such as ``airbench94_muon``.

    Raises RecipeError in one line: file and line, key, value, and what would be valid.
    """
    path = locate(path)
    node, moved = _resolve(path, overrides)
    return _loaded(node, path, moved)


def load_recipes(path: str | Path, overrides: Sequence[str | Node] = ()) -> list[LoadedRecipe]:
    """Do the same where ``train.epochs`` may be a list: return one recipe per length, named after it."""
    path = locate(path)
    node, moved = _resolve(path, overrides)
    assert isinstance(node.value, dict)
    train = node.value.get("train")
    epochs = train.value.get("epochs") if train is not None and isinstance(train.value, dict) else None
    if epochs is None or not isinstance(epochs.value, list):
        return [_loaded(node, path, moved)]
    if not epochs.value:
        raise RecipeError(f"{epochs.place}: train.epochs = []: give a number, or a list of numbers")
    given = [length.value for length in epochs.value]
    twice = next((each for each in given if given.count(each) > 1), None)
    if twice is not None:
        raise RecipeError(f"{epochs.place}: train.epochs = {show(epochs)}: {twice} is listed twice")
    loaded = []
    for length in epochs.value:
        if isinstance(length.value, list | dict):
            raise RecipeError(f"{epochs.place}: train.epochs = {show(epochs)}: give numbers, such as [4, 8]")
        named = {**node.value, "name": Node(f"{node.value['name'].value}-{length.value}ep", epochs.file, epochs.line)}
        one = Node({"train": Node({"epochs": length}, epochs.file, epochs.line)}, node.file, node.line)
        each = merge(Node(named, node.file, node.line), one)
        loaded.append(_loaded(each, path, moved))
    return loaded


def with_overrides(loaded: LoadedRecipe, overrides: Sequence[str | Node]) -> LoadedRecipe:
    """Return a recipe that was loaded before with overrides applied. Raises RecipeError."""
    node = parse_yaml(dump_recipe(loaded.recipe), str(loaded.path)).moved_to(str(loaded.path))
    node, moved = _overridden(node, overrides)
    new = _loaded(node, loaded.path, (*loaded.moved, *moved))
    known = {key: place for key, place in new.places.items() if place != str(loaded.path)}
    return replace(new, places={**loaded.places, **known})


def data_override(path: str) -> str:
    """Return the override that names a copy of the images: ``data.path=…``."""
    quoted = path.replace("'", "''")
    return f"data.path='{quoted}'"


def _places(node: Node, key: str = "") -> dict[str, str]:
    """Return where each setting at and below ``node`` was written, by its key."""
    found = {key: node.place} if key else {}
    if isinstance(node.value, dict):
        for name, inner in node.value.items():
            found |= _places(inner, f"{key}.{name}" if key else name)
    return found


Moved = tuple[tuple[str, str], ...]


def _resolve(path: Path, overrides: Sequence[str | Node]) -> tuple[Node, Moved]:
    """Read a recipe and all that it extends, apply the overrides, and convert it to the current schema."""
    node, moved = _read_with_parents(path, ())
    if isinstance(node.value, dict) and "name" not in node.value:
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).lstrip("._-") or "recipe"
        node = Node({"name": Node(name, str(path)), **node.value}, node.file, node.line)
    node, renamed = _overridden(node, overrides)
    return node, (*moved, *renamed)


def _overridden(node: Node, overrides: Sequence[str | Node]) -> tuple[Node, Moved]:
    """Apply overrides, which are written as on the command line or parsed already, to a whole recipe."""
    over, moved = Node({}, COMMAND_LINE), tuple[tuple[str, str], ...]()
    for override in overrides:  # merged with each other first, so that their order does not matter
        parsed, renamed = move_settings(parse_override(override) if isinstance(override, str) else override)
        assert isinstance(parsed.value, dict)
        if "extends" in parsed.value:
            raise RecipeError(f"{parsed.place}: 'extends' belongs in a recipe file")
        over = merge(over, parsed, start_over=False)
        moved = (*moved, *renamed)
    assert isinstance(over.value, dict)
    if "name" in over.value:  # so that merging does not take the new name for another kind of component
        node = Node({**node.value, "name": over.value["name"]}, node.file)  # type: ignore[dict-item]
    _check_removals(over, node)
    node = _without_null(merge(node, over), ("optimizers",))
    return _written_out(_without_null(node, ("data", "augment"))), moved


def _check_removals(over: Node, base: Node) -> None:
    """Raise RecipeError if a null would remove a group or an augmentation that there is not: its name is mistyped.

    An augmentation that one can have may be null anyhow: a sweep takes it away from a recipe with and without it.
    """
    for path, others in ((("optimizers",), ()), (("data", "augment"), tuple(TRANSFORMS))):
        removed, there = _section(over, path), _section(base, path)
        for key, node in removed.items():
            if node.value is None and key not in there and key not in others:
                near = nearest(key, there)
                hint = f"did you mean '{near}'?" if near else f"there are: {', '.join(there) or 'none'}"
                raise RecipeError(f"{node.place}: {'.'.join(path)}.{key} = null: nothing to remove; {hint}")


def _section(node: Node, path: tuple[str, ...]) -> dict[str, Node]:
    """Return the entries of a section; none if there is no such section."""
    for step in path:
        inner = node.value.get(step) if isinstance(node.value, dict) else None
        if inner is None:
            return {}
        node = inner
    return node.value if isinstance(node.value, dict) else {}


def _without_null(node: Node, path: tuple[str, ...]) -> Node:
    """Drop the null entries at ``path``: null is how a recipe removes an inherited entry."""
    inner = node.value.get(path[0]) if path and isinstance(node.value, dict) else None
    if inner is not None:
        assert isinstance(node.value, dict)
        return Node({**node.value, path[0]: _without_null(inner, path[1:])}, node.file, node.line)
    if path or not isinstance(node.value, dict):
        return node
    return Node({key: entry for key, entry in node.value.items() if entry.value is not None}, node.file, node.line)


def _written_out(node: Node) -> Node:
    """Expand shorthand augmentations: ``translate: 2`` becomes ``translate: {name: translate, pixels: 2}``."""
    assert isinstance(node.value, dict)
    data = node.value.get("data")
    augment = data.value.get("augment") if data is not None and isinstance(data.value, dict) else None
    if data is None or augment is None or not isinstance(augment.value, dict):
        return node
    assert isinstance(data.value, dict)
    full: dict[str, Node] = {}
    for key, entry in augment.value.items():
        component = TRANSFORMS.get(key)
        shorthand = component.config.shorthand if component and issubclass(component.config, TransformConfig) else None
        settings = entry.value
        if not isinstance(settings, dict) and shorthand is not None:
            settings = {shorthand: entry}
        if isinstance(settings, dict):
            full[key] = Node({"name": Node(key, entry.file, entry.line), **settings}, entry.file, entry.line)
        else:
            full[key] = entry
    written = Node({**data.value, "augment": Node(full, augment.file, augment.line)}, data.file, data.line)
    return Node({**node.value, "data": written}, node.file, node.line)


def _loaded(node: Node, path: Path, moved: Moved) -> LoadedRecipe:
    """Validate a resolved recipe, and keep where its settings were written. Raises RecipeError."""
    return LoadedRecipe(validate(Recipe, node, path, also=["extends"]), path, moved, _places(node))


def dump_recipe(recipe: Recipe) -> str:
    """Return the whole recipe as YAML, with every default. Loading it gives the same recipe."""
    data = json.loads(recipe.model_dump_json())
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=110)


class _Dumper(yaml.SafeDumper):
    """Writes floats so that both YAML 1.1 and 1.2 parse them as floats: 5.0e-07, not 5e-07."""


def _represent_float(dumper: yaml.SafeDumper, value: float) -> yaml.Node:
    text = repr(value)
    if "e" in text and "." not in text:
        text = text.replace("e", ".0e")
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


_Dumper.add_representer(float, _represent_float)


def _read_with_parents(path: Path, children: tuple[Path, ...]) -> tuple[Node, Moved]:
    resolved = Path(os.path.realpath(path))  # unlike Path.resolve, does not raise for a loop of links
    if resolved in children:
        chain = " → ".join(p.name for p in (*children[children.index(resolved) :], resolved))
        raise RecipeError(f"{children[-1]}: 'extends' is circular: {chain}")
    node = read_yaml(path)
    assert isinstance(node.value, dict)
    parent = node.value.get("extends")
    own = {key: value for key, value in node.value.items() if key != "extends" and not _is_empty_section(key, value)}
    child, moved = move_settings(Node(own, node.file, node.line))
    if parent is None:
        _check_removals(child, Node({}, str(path)))
        return child, tuple(moved)
    if not isinstance(parent.value, str):
        raise RecipeError(f"{parent.place}: extends = {parent.plain()!r}: give the name of one recipe file")
    try:
        parent_path = Path(os.path.normpath(path.parent / Path(parent.value).expanduser()))
    except RuntimeError:
        raise RecipeError(f"{parent.place}: extends: {parent.value}: no such user's home folder") from None
    if not parent_path.is_file():
        parent_path = find_shipped(parent.value) or parent_path
    if not parent_path.is_file():
        near = nearest(parent_path.name, (p.name for p in parent_path.parent.glob("*.yaml")))
        near = near or nearest(parent_path.stem, shipped_recipes())
        hint = f"; did you mean '{near}'?" if near else ""
        raise RecipeError(f"{parent.place}: extends: {parent_path} not found{hint}")
    base, moved_before = _read_with_parents(parent_path, (*children, resolved))
    assert isinstance(base.value, dict)
    # Name and description are not inherited.
    inherited = {k: v for k, v in base.value.items() if k not in ("name", "description")}
    _check_removals(child, base)
    return merge(Node(inherited, base.file, base.line), child), (*moved_before, *moved)


def _is_empty_section(key: str, node: Node) -> bool:
    """Whether ``key`` is a section of which nothing is left, such as ``train:`` with every line below commented out."""
    field = Recipe.model_fields.get(key)
    return node.value is None and field is not None and bool(models_in(field.annotation)) and not _may_be_null(field)


def _may_be_null(field: FieldInfo) -> bool:
    return type(None) in get_args(field.annotation)
