"""YAML with its origin: every key knows the file and line that it came from.

Recipes are merged from several files and the command line; an error message about a key must name the one place
where the user can change it.
"""

import itertools
import math
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from airbench.errors import RecipeError, nearest
from airbench.recipe.nets import NETS
from airbench.recipe.orthogonalizers import ORTHOGONALIZERS
from airbench.recipe.shipped import find_shipped, shipped_recipes

Scalar: TypeAlias = str | int | float | bool | None
COMMAND_LINE = "command line"

MOST_VALUES = 10_000
"""Values that a recipe may have. YAML's aliases can make a short file stand for millions."""

MOST_BYTES = 1_000_000

MOST_TIED = 100
"""Settings that one override sets."""

DEEPEST = 30
"""Levels that an override may have."""


@dataclass(frozen=True)
class Node:
    """A YAML value and its location.

    ``value`` is a dict of nodes, a list of nodes, or a scalar; ``line`` counts from 1 and is 0 for a value that did
    not come from a file.
    """

    value: "dict[str, Node] | list[Node] | Scalar"
    file: str
    line: int = 0

    @property
    def place(self) -> str:
        """``file:line``, or ``file`` alone."""
        return f"{self.file}:{self.line}" if self.line else self.file

    def moved_to(self, file: str) -> "Node":
        """Return the same value, all of it from ``file``, of which no line is known."""
        if isinstance(self.value, dict):
            return Node({key: node.moved_to(file) for key, node in self.value.items()}, file)
        if isinstance(self.value, list):
            return Node([node.moved_to(file) for node in self.value], file)
        return Node(self.value, file)

    def plain(self) -> Any:
        """Return the value as plain dicts, lists and scalars."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def find(self, path: tuple[str | int, ...]) -> "Node":
        """Return the node at ``path``, or the deepest one on the way to it.

        Steps that match nothing are skipped: pydantic puts union tags into its paths.
        """
        node = self
        for step in path:
            inner = node.value
            if isinstance(inner, dict) and step in inner:
                node = inner[str(step)]
            elif isinstance(inner, list) and isinstance(step, int) and step < len(inner):
                node = inner[step]
        return node


class _Loader(yaml.SafeLoader):
    """Reads YAML's core types, and 1e-4 as a number."""

    values = 0
    """Values converted so far, those behind aliases included."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":timestamp", ":float", ":int"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(?:\d[\d_]*\.[\d_]*(?:[eE][-+]?\d+)?|\.\d[\d_]*(?:[eE][-+]?\d+)?|\d[\d_]*[eE][-+]?\d+"
        r"|\.(?:inf|Inf|INF))$|^\.(?:nan|NaN|NAN)$"
    ),
    list("-+0123456789."),
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][\d_]*)$"), list("-+0123456789"))


def _convert(loader: _Loader, node: yaml.Node, file: str) -> Node:
    line = 0 if file == COMMAND_LINE else node.start_mark.line + 1
    loader.values += 1
    if loader.values > MOST_VALUES:
        raise RecipeError(f"{file}: not a recipe: more than {MOST_VALUES:,} values, aliases included")
    if isinstance(node, yaml.MappingNode):
        mapping: dict[str, Node] = {}
        for key_node, value_node in node.value:
            key_line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise RecipeError(f"{file}:{key_line}: a key must be a plain word")
            key = str(key_node.value)
            if key == "<<":
                raise RecipeError(
                    f"{file}:{key_line}: '<<' is not supported; to build on another recipe: extends: FILE"
                )
            if key in mapping:
                raise RecipeError(
                    f"{file}:{key_line}: key '{key}' is given twice (first in line {mapping[key].line}); "
                    "remove one of the two"
                )
            child = _convert(loader, value_node, file)
            mapping[key] = Node(child.value, file, 0 if file == COMMAND_LINE else key_line)
        return Node(mapping, file, line)
    if isinstance(node, yaml.SequenceNode):
        return Node([_convert(loader, item, file) for item in node.value], file, line)
    try:
        value = loader.construct_object(node)
    except Exception:  # PyYAML's constructors raise whatever int(), float() and their tables do
        tag = node.tag.rpartition(":")[2]
        raise RecipeError(f"{file}:{line}: {str(node.value)[:40]!r} is not a value of YAML's type {tag}") from None
    if not isinstance(value, str | int | float | bool | None):
        raise RecipeError(f"{file}:{line}: {node.value!r} is not a string, a number, true, false or null")
    return Node(value, file, line)


def parse_yaml(text: str, file: str) -> Node:
    """Parse one YAML document.

    Raises RecipeError, naming file and line, for invalid YAML and for duplicate keys.
    """
    try:
        loader = _Loader(text)
        try:
            root = loader.get_single_node()  # aliases are resolved into shared nodes here
            return Node(None, file, 0) if root is None else _convert(loader, root, file)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{file}:{mark.line + 1}" if mark and file != COMMAND_LINE else file
        problem = error.problem or error.context
        told = f"{error.context or ''} {problem}"
        if any(words in told for words in ("scanning an alias", "scanning an anchor", "undefined alias")):
            problem = "text that begins with '*' or '&' needs quotes, as in '*.weight'"
        raise RecipeError(f"{place}: not valid YAML: {problem}") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise RecipeError(f"{file}: not valid YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise RecipeError(f"{file}: not a recipe: nested too deeply") from None


def read_yaml(path: Path) -> Node:
    """Parse a YAML file whose top level is a mapping. Raises RecipeError."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for, and a device never ends
            raise RecipeError(f"{path}: not a regular file; save the recipe in one")
        if status.st_size > MOST_BYTES:
            raise RecipeError(f"{path}: not a recipe: larger than {MOST_BYTES // 1000} kB")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such file{_siblings(path)}") from None
    except IsADirectoryError:
        raise RecipeError(f"{path}: a folder, not a recipe{_siblings(path / 'x')}") from None
    except UnicodeDecodeError:
        raise RecipeError(f"{path}: not a UTF-8 text file") from None
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror}") from None
    node = parse_yaml(text, str(path))
    if not isinstance(node.value, dict):
        raise RecipeError(f"{path}: a recipe is a mapping of keys to values, such as 'target: 0.94'")
    return node


def _siblings(path: Path) -> str:
    shipped = find_shipped(path.name)
    if shipped is not None:
        return f"; did you mean {shipped}?"
    folder = path.parent
    files = sorted(folder.glob("*.yaml")) if folder.is_dir() else []
    near = nearest(path.stem, [file.stem for file in files])
    if near is not None:
        return f"; did you mean {folder / near}.yaml?"
    near = nearest(path.stem, shipped_recipes())
    if near is not None:
        return f"; did you mean {near}?"
    return (
        f"; recipes in {folder}: {', '.join(file.name for file in files)}"
        if files
        else "; airbench recipes lists those that are shipped"
    )


def plain_keys(key: str) -> list[str]:
    """Return the settings that ``key`` stands for: ``a.b,c.d`` for ``a.b.d`` and ``a.c.d``.

    Raises RecipeError for more than MOST_TIED.
    """
    steps = [step.split(",") for step in key.strip().split(".")]
    if math.prod(map(len, steps)) > MOST_TIED:
        raise RecipeError(f"'{key[:80]}' stands for more than {MOST_TIED} settings; name fewer")
    return [".".join(names) for names in itertools.product(*steps)]


def twice(keys: Iterable[str]) -> str | None:
    """Return a setting that is given twice by ``keys``, each of which may stand for several; None if there is none."""
    plain = [each for key in keys for each in plain_keys(key)]
    return next((key for key in plain if plain.count(key) > 1), None)


def parse_override(text: str, place: str = COMMAND_LINE) -> Node:
    """Parse ``a.b.c=value``, the value as YAML, into a nested mapping. ``place`` is where the user wrote it.

    ``a.b,c.d=value`` sets both ``a.b.d`` and ``a.c.d``, so that an axis of a sweep can tie settings together.
    """
    key, equals, value = text.partition("=")
    steps = [step.split(",") for step in key.strip().split(".")]
    if not equals or not all(all(names) for names in steps) or len(steps) > DEEPEST:
        raise RecipeError(f"{place}: '{text[:80]}' is not of the form key.subkey=value")
    try:
        repeated = twice([key])
    except RecipeError as error:
        raise RecipeError(f"{place}: {error}") from None
    if repeated is not None:
        raise RecipeError(f"{place}: '{text[:80]}' sets {repeated} twice")
    try:
        node = parse_yaml(value, COMMAND_LINE).moved_to(place)
    except RecipeError as error:
        raise RecipeError(f"{place}: {text}: {str(error).removeprefix(COMMAND_LINE + ': ')}") from None
    for names in reversed(steps):
        node = Node(dict.fromkeys(names, node), place)
    return node


_DEFAULTS = {
    (section, registry.key): registry.default
    for section, registry in {"net": NETS, "orthogonalize": ORTHOGONALIZERS}.items()
}
"""The kind of a section that does not name it, by the section and the setting that names it."""

_KEPT = ("params", "augment", "held_out", "train_images", "subset", "split", "qk_clip")
"""Settings that do not depend on the kind: a group's parameters and its limit on attention logits; the augmentations
and which of a data set's images are trained on and held out; the maps that a matrix holds (for another method of
orthogonalisation; another optimizer may have no such setting)."""


def merge(base: Node, over: Node, *, start_over: bool = True, at: str = "") -> Node:
    """Merge ``over`` into ``base``, which is the section ``at`` of a recipe.

    Mappings merge key by key; anything else is replaced. Optimizer groups that only ``over`` has come before the
    inherited ones, so that they are matched first; other new keys come last. A mapping that changes ``name`` or
    ``method`` (another optimizer, net or schedule) starts over, since the old settings would not apply to it; only
    settings that do not depend on the kind are kept. If ``start_over`` is false, nothing is dropped.
    """
    if not isinstance(base.value, dict) or not isinstance(over.value, dict):
        return over
    for kind in ("name", "method") if start_over else ():
        old, new = base.value.get(kind), over.value.get(kind)
        if new and base.value and (old.value if old else _DEFAULTS.get((at, kind), new.value)) != new.value:
            kept = {
                key: merge(node, over.value[key], at=key) if key in over.value else node
                for key, node in base.value.items()
                if key in _KEPT
            }
            return Node({**over.value, **kept}, over.file, over.line)
    new_keys = {key: node for key, node in over.value.items() if key not in base.value}
    merged = {
        key: merge(node, over.value[key], start_over=start_over, at=key) if key in over.value else node
        for key, node in base.value.items()
    }
    # A section that the command line changes a setting of is still where its file has it.
    place = base if over.file == COMMAND_LINE else over
    return Node({**new_keys, **merged} if at == "optimizers" else {**merged, **new_keys}, place.file, place.line)


def as_word(value: Any) -> str:
    """Return a value of YAML as it is written on the command line."""
    if isinstance(value, list):
        return "[" + ", ".join(as_word(inner) for inner in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {as_word(inner)}" for key, inner in value.items()) + "}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def short_names(keys: Iterable[str]) -> dict[str, str]:
    """Return the last parts of each of ``keys`` that tell it from the others, by key."""
    keys = list(keys)
    shown = {}
    for key in keys:
        steps = key.split(".")
        ends = (".".join(steps[-n:]) for n in range(1, len(steps) + 1))
        shown[key] = next((end for end in ends if sum(f".{k}".endswith("." + end) for k in keys) == 1), key)
    return shown
