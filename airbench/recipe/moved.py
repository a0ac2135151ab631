"""Settings that have moved: older recipes and run folders can still be read."""

from airbench.recipe.source import Node

MOVED = {
    "device": "engine.device",
    "precision": "engine.precision",
    "threads": "engine.threads",
    "train.compile": "engine.compile",
    "train.save": "engine.save",
    "train.cuda_graph": "engine.cuda_graph",
    "net.fused": "engine.fused",
    "net.winograd": "engine.winograd",
    "data.augment.brightness": "data.augment.color_jitter.brightness",
    "data.augment.contrast": "data.augment.color_jitter.contrast",
    "optimizers.*.renormalize_every": "optimizers.*.rescale.every",
    "optimizers.*.renormalize_growth": "optimizers.*.rescale.growth",
}
"""Old path of a setting → its current path. `*` matches any one key."""

Path = tuple[str, ...]


def move_settings(root: Node) -> tuple[Node, list[tuple[str, str]]]:
    """Convert ``root``, the mapping of a file or an override, to the current schema.

    Returns it and the (old, new) paths that were moved. A setting given under both paths is left as it is, so that
    validation reports the old key as unknown.
    """
    moved: list[tuple[str, str]] = []
    for old, new in MOVED.items():
        pattern = old.split(".")
        for path in _matches(root, tuple(pattern)):
            keys = dict(zip(pattern, path, strict=True))  # "*" → the key that it matched
            target = tuple(keys[step] if step == "*" else step for step in new.split("."))
            if _get(root, target) is None:
                value = _get(root, path)
                assert value is not None
                root = _without(root, path)
                root = _with(root, target, value)
                moved.append((".".join(path), ".".join(target)))
    return _never_rescaled(root), moved


def _never_rescaled(root: Node) -> Node:
    """Convert ``renormalize_every: 0``, which meant never, to ``rescale: null``."""
    for path in _matches(root, ("optimizers", "*", "rescale")):
        every = _get(root, (*path, "every"))
        if every is not None and every.value == 0 and not isinstance(every.value, bool):
            root = _with(_without(root, path), path, Node(None, every.file, every.line))
    return root


def _matches(node: Node, pattern: Path) -> list[Path]:
    """Return the paths in ``node`` that ``pattern`` matches."""
    if not pattern:
        return [()]
    if not isinstance(node.value, dict):
        return []
    keys = list(node.value) if pattern[0] == "*" else [pattern[0]] if pattern[0] in node.value else []
    return [(key, *rest) for key in keys for rest in _matches(node.value[key], pattern[1:])]


def _get(node: Node, path: Path) -> Node | None:
    for step in path:
        if not isinstance(node.value, dict) or step not in node.value:
            return None
        node = node.value[step]
    return node


def _without(node: Node, path: Path) -> Node:
    """Return ``node`` without the entry at ``path``, and without mappings that become empty."""
    assert isinstance(node.value, dict)
    first, rest = path[0], path[1:]
    kept = {key: value for key, value in node.value.items() if key != first}
    if rest:
        inner = _without(node.value[first], rest)
        if inner.value:
            kept = {key: inner if key == first else value for key, value in node.value.items()}
    return Node(kept, node.file, node.line)


def _with(node: Node, path: Path, value: Node) -> Node:
    """Return ``node`` with ``value`` at ``path``."""
    if not path:
        return value
    inner = node.value if isinstance(node.value, dict) else {}
    below = inner.get(path[0], Node({}, value.file, value.line))
    return Node({**inner, path[0]: _with(below, path[1:], value)}, node.file, node.line)
