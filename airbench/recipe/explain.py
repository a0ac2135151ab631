"""Validation of what a file says against a config class; errors in one line, as the user wrote it."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from airbench.errors import RecipeError, nearest
from airbench.recipe.registry import Registry
from airbench.recipe.source import COMMAND_LINE, Node

Model = TypeVar("Model", bound=BaseModel)


def validate(model: type[Model], node: Node, path: Path, also: Sequence[str] = ()) -> Model:
    """Return ``node``, read from the file ``path``, as an instance of ``model``.

    ``also`` are keys that the file may have besides the model's; messages list them.
    Raises RecipeError in one line: file and line, key, value, and what would be valid.
    """
    try:
        return model.model_validate_json(json.dumps(node.plain()))
    except ValidationError as failure:
        errors = failure.errors(include_url=False)
        # An unknown key usually explains the other errors (a missing key, say): report it first.
        errors.sort(key=lambda error: error["type"] != "extra_forbidden")
        lines = [_explain(error, model, node, path, also) for error in errors]
        more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
        raise RecipeError(lines[0] + more) from None


def _explain(error: Any, model: type[BaseModel], root: Node, path: Path, also: Sequence[str]) -> str:
    loc: tuple[str | int, ...] = error["loc"]
    kind: str = error["type"]
    shown = _without_tags(root, loc, keep_last=kind in ("missing", "extra_forbidden"))
    key = ".".join(str(step) for step in shown)
    node = root.find(loc)
    place = node.place if node is not root else str(path)
    if kind == "extra_forbidden" and "." in str(loc[-1]):
        steps = str(loc[-1]).split(".")
        nested = ": {".join(steps) + ": …" + "}" * (len(steps) - 1)
        return f"{place}: {key}: a key in a file has no dots: write {nested}, or that over several lines"
    if kind == "extra_forbidden":
        valid = sorted({*_keys_at(model, loc[:-1]), *(also if len(loc) == 1 else ())})
        near = nearest(str(loc[-1]), valid)
        hint = f"did you mean '{near}'?" if near else f"valid keys: {', '.join(valid)}"
        return f"{place}: {key} = {show(node)}: unknown key; {hint}"
    if kind == "missing":
        return f"{place}: {key} is missing and has no default"
    if kind == "union_tag_not_found":
        return f"{place}: {key}{_without_kind(model, root, loc, key)}"
    if kind == "union_tag_invalid":
        tag, expected = error["ctx"]["tag"], error["ctx"]["expected_tags"]
        kind_key, near = _kind_key(key), nearest(str(error["ctx"]["tag"]), re.findall(r"'([^']+)'", expected))
        hint = f"did you mean '{near}'? There are" if near else "give one of"
        return f"{node.find((kind_key,)).place}: {key}.{kind_key} = {tag}: {hint} {expected}"
    message = _in_plain_words(kind, node, key) or str(error["msg"]).removeprefix("Value error, ")
    message = message.replace("Input should be '", "give '", 1)  # one of several words
    if not loc:  # about several settings, which the message names
        return f"{path}: {message}"
    section = node.value if isinstance(node.value, dict) else {}
    named = [word for word in re.findall(r"\w+", message) if word in section]
    if named and message.startswith(named[0]):  # about a section, by one of its keys
        typed = next((word for word in named if section[word].file == COMMAND_LINE), named[0])
        node = section[typed]
        place, key = node.place, f"{key}.{typed}"
    return f"{place}: {key} = {show(node)}: {message[:1].lower() + message[1:]}"


def _kind_key(key: str) -> str:
    """Return the setting that selects the kind of the component at ``key``."""
    return "method" if key.endswith("orthogonalize") else "name"


def _without_kind(model: type[BaseModel], root: Node, loc: tuple[str | int, ...], key: str) -> str:
    """Say what is wrong with a component that does not say of which kind it is: a mistyped name, or a bare value."""
    node, kind_key = root.find(loc), _kind_key(key)
    kinds = [str(tag) for inner in _models_at(model, loc) for tag in _tags(inner)]
    meant = nearest(str(loc[-1]), kinds)
    if not isinstance(node.value, dict) and meant is not None and meant != loc[-1]:  # augmentations' keys are kinds
        return f" = {show(node)}: did you mean '{meant}'?"
    if not isinstance(node.value, dict):
        near = nearest(str(node.value), kinds)
        hint = f"did you mean {key}.{kind_key}={near}?" if near else f"{key}.{kind_key} is one of {', '.join(kinds)}"
        return f" = {show(node)}: give settings; {hint}"
    beside = root.find(loc[:-1]).value
    near = nearest(str(loc[-1]), [each for each in beside if each != loc[-1]]) if isinstance(beside, dict) else None
    hint = f"did you mean '{near}'? A new one needs '{kind_key}'" if near else f"'{kind_key}' is missing"
    return f": {hint}, one of {', '.join(kinds)}"


def _in_plain_words(kind: str, node: Node, key: str) -> str | None:
    """Say which type of value is needed, and how it is written; None for other kinds of errors."""
    value = node.value
    if kind == "string_type" and isinstance(value, int | float):
        text = show(node)
        return "give text: " + (f"{key}=\"'{text}'\"" if node.file == COMMAND_LINE else f"'{text}', in quotes")
    written = re.fullmatch(r"[-+.\deE]+(?P<others>(,[-+.\deE]+)*)", value) if isinstance(value, str) else None
    if written and kind in ("int_type", "float_type"):
        if not written["others"]:
            return f"give a number, without quotes: {value}"
        return "give one number; airbench train --vary takes several, and trains them in turn"
    if kind == "string_pattern_mismatch" and key == "engine.device":
        return "give auto, cpu, mps, cuda, or cuda and a number, as in cuda:1"
    if kind.startswith("int_") and isinstance(value, float) and value.is_integer():
        return f"give a whole number without a decimal point: {value:.0f}"
    return {
        "string_type": "give text",
        "int_type": "give a whole number",
        "int_from_float": "give a whole number",
        "float_type": "give a number",
        "bool_type": "give true or false",
        "tuple_type": "give a list, in brackets",
        "list_type": "give a list, in brackets",
        "model_type": "give settings, as `key: value` lines or {key: value}",
        "model_attributes_type": "give settings, as `key: value` lines or {key: value}",
        "dict_type": "give settings, as `key: value` lines or {key: value}",
    }.get(kind)


def show(node: Node) -> str:
    """Return the value of ``node`` for a message, cut if it is long."""
    text = json.dumps(node.plain(), ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def _without_tags(root: Node, loc: Sequence[str | int], *, keep_last: bool) -> list[str | int]:
    """Return ``loc`` as the user wrote it, without the steps that pydantic adds for members of unions."""
    node, steps = root, []
    for place, step in enumerate(loc):
        inner = node.find((step,))
        if inner is not node:
            steps.append(step)
            node = inner
        elif keep_last and place == len(loc) - 1:
            steps.append(step)
    return steps


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the config classes that a value of this type may be."""
    if isinstance(annotation, Registry):
        return [component.config for component in annotation.values()]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for arg in get_args(annotation) for model in models_in(arg)]


def _keys_at(root: type[BaseModel], loc: Sequence[str | int]) -> set[str]:
    """Return the keys valid at ``loc``, a path as pydantic reports it, union tags included."""
    return {key for model in _models_at(root, loc) for key in model.model_fields}


def _models_at(root: type[BaseModel], loc: Sequence[str | int]) -> list[type[BaseModel]]:
    """Return the config classes that the value at ``loc`` may be an instance of."""
    models: list[type[BaseModel]] = [root]
    for step in loc:
        tagged = [m for m in models if step in _tags(m)]
        deeper = [inner for m in models if str(step) in m.model_fields for inner in _inside(m, str(step))]
        models = deeper or tagged or models  # a group's own name in `optimizers` changes nothing
    return models


def _inside(model: type[BaseModel], field: str) -> list[type[BaseModel]]:
    info = model.model_fields[field]
    registries = [model for item in info.metadata for model in models_in(item)]
    return registries or models_in(info.annotation)


def _tags(model: type[BaseModel]) -> tuple[Any, ...]:
    field = model.model_fields.get("method") or model.model_fields.get("name")
    return get_args(field.annotation) if field else ()
