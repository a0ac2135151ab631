"""The chain of hashes that ties the lines of ``trials.jsonl`` to each other and to ``run.json``.

Each line carries its own hash, that of the line before it, and that of ``run.json`` as it was then, so that no line
can be changed, inserted or reordered by hand, and none removed but the last ones: what is left is then a run that was
interrupted earlier. Whoever computes all hashes anew can still forge a run: only training some of its trials again
shows that (``airbench verify --rerun``).
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

PREVIOUS, RUN_FACTS, OWN = "previous_sha256", "run_sha256", "sha256"
"""Keys of the hashes in a line."""


def chained(row: dict[str, Any], facts: dict[str, Any], last: bytes) -> dict[str, Any]:
    """Return ``row`` with its hashes, to follow the line ``last`` (empty: none) in a run with these facts."""
    row = {**row, PREVIOUS: _row(last).get(OWN, ""), RUN_FACTS: hash_of(facts)}
    return {**row, OWN: hash_of(row)}


def hash_of(values: dict[str, Any]) -> str:
    """Return the SHA-256 of plain values, however a file lays them out."""
    return hashlib.sha256(json.dumps(printable(values), sort_keys=True).encode()).hexdigest()


def printable(value: Any) -> Any:
    """Return plain values whose texts are valid Unicode.

    A path that is no text has lone surrogates in JSON, which nothing prints: they become question marks.
    """
    if isinstance(value, dict):
        return {printable(key): printable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [printable(item) for item in value]
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else value


def broken_links(facts: dict[str, Any], lines: Sequence[bytes]) -> list[int]:
    """Return the numbers, from 1, of the lines whose hashes do not fit.

    ``run.json`` grows by an entry of ``resumed`` each time that the run is resumed; a line fits any earlier state,
    but no state before that of the line above it.
    """
    states = [hash_of(state) for state in _states(facts)]
    broken, now, above = [], 0, ""
    for number, line in enumerate(lines, start=1):
        row = _row(line)
        own = row.pop(OWN, None)
        fits = [i for i in range(now, len(states)) if states[i] == row.get(RUN_FACTS)]
        if own != hash_of(row) or row.get(PREVIOUS) != above or not fits:
            broken.append(number)
        else:
            now = fits[0]
        above = own
    return broken


def is_chained(lines: Sequence[bytes]) -> bool:
    """Return whether there are lines and all have hashes. Those of earlier versions of the program have none."""
    return bool(lines) and all({PREVIOUS, RUN_FACTS, OWN} <= _row(line).keys() for line in lines)


def is_partly_chained(lines: Sequence[bytes]) -> bool:
    """Return whether some lines have hashes and others, which can be read, have lost theirs."""
    rows = [row.keys() for row in map(_row, lines) if row]
    return any(OWN in row for row in rows) and not all({PREVIOUS, RUN_FACTS, OWN} <= row for row in rows)


def _row(line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return row if isinstance(row, dict) else {}


def _states(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """Return ``run.json`` as it was at first and after each time that the run was resumed."""
    resumed = facts.get("resumed")
    if not isinstance(resumed, list) or not resumed:
        return [facts]
    first = {key: value for key, value in facts.items() if key != "resumed"}
    return [first, *({**first, "resumed": resumed[: k + 1]} for k in range(len(resumed)))]
