"""Reading the pickles in which CIFAR was published, without Python's unpickler.

A pickle is a program for a stack machine. Python's own machine runs what the file says, and even where it may
only name numpy, numpy follows pointers that the file holds. This one knows the few instructions that a batch
consists of, and can make nothing but numbers, byte strings, lists, dictionaries and arrays of integers.
"""

import math
import pickletools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.integer]

_DTYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8")


class BatchError(ValueError):
    """A pickle that holds something no batch of CIFAR does."""


class _Global:
    """Something that the pickle names. Only these names have a meaning, and none of them is ever called."""

    MEANINGS = {  # noqa: RUF012
        "numpy.core.multiarray _reconstruct": "array",
        "numpy._core.multiarray _reconstruct": "array",
        "numpy dtype": "dtype",
        "numpy ndarray": "ndarray",
        "_codecs encode": "bytes",
    }

    def __init__(self, name: str):
        if name not in self.MEANINGS:
            raise BatchError(f"it names {name.replace(' ', '.')}, which no CIFAR batch does")
        self.meaning = self.MEANINGS[name]


class _Dtype:
    """The type of an array's elements: integers, little-endian."""

    def __init__(self, name: str):
        if name not in _DTYPES:
            raise BatchError(f"an array of type {name}; only integers are read")
        self.dtype = np.dtype("<" + name)

    def build(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 5 or state[1] not in ("|", "<", b"|", b"<"):
            raise BatchError("an array of another byte order")
        if state[2:5] != (None, None, None):
            raise BatchError("an array of structures")


class _Array:
    """An array, once its shape and its bytes were read."""

    values: Integers | None = None

    def build(self, state: Any) -> None:
        _, shape, kind, fortran, raw = state
        if not isinstance(kind, _Dtype) or not isinstance(raw, bytes):
            raise BatchError("an array that does not consist of bytes")
        if not all(isinstance(size, int) and size >= 0 for size in shape):
            raise BatchError("an array of no known shape")
        if math.prod(shape) * kind.dtype.itemsize != len(raw):
            raise BatchError(f"an array of {len(raw)} bytes that should have shape {shape}")
        self.values = np.frombuffer(raw, kind.dtype).reshape(shape, order="F" if fortran else "C")


def load_batch(content: bytes) -> dict[bytes, Any]:
    """The dictionary that a batch file holds: integer arrays, lists and byte strings by name.

    Raises BatchError, or whatever ``pickletools`` raises, if it holds anything else or is damaged.
    """
    batch = _Machine().run(content)
    if not isinstance(batch, dict):
        raise BatchError("it holds no dictionary")
    return {
        _bytes(key): value.values if isinstance(value, _Array) else value
        for key, value in batch.items()
    }  # fmt: skip


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")


class _Machine:
    """The stack, and the memo by which a pickle refers to what it has made before."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self, content: bytes) -> Any:
        """Execute the pickle; what is left on the stack at its end."""
        for operation, argument, _ in pickletools.genops(content):
            name = operation.name
            if name in _PUSHES:
                self.stack.append(_PUSHES[name](argument))
            elif name in _STEPS:
                _STEPS[name](self, argument)
            elif name == "STOP":
                break
            else:
                raise BatchError(f"it has the instruction {name}, which no CIFAR batch has")
        return self.stack.pop()

    def mark(self, _: Any) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def to_mark(self) -> list[Any]:
        """What lies above the last mark; the stack is that below it again."""
        items, self.stack = self.stack, self.marked.pop()
        return items

    def take(self, count: int) -> list[Any]:
        """The topmost ``count`` items, removed from the stack."""
        if len(self.stack) < count:
            raise BatchError("it is not whole")
        items = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return items

    def put(self, index: Any) -> None:
        self.memo[index] = self.stack[-1]

    def memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def get(self, index: Any) -> None:
        self.stack.append(self.memo[index])

    def push_tuple(self, items: list[Any]) -> None:
        self.stack.append(tuple(items))

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or not all(isinstance(key, str | bytes) for key in items[::2]):
            raise BatchError("a dictionary whose keys are no names")
        target.update(zip(items[::2], items[1::2], strict=True))

    def append(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise BatchError("items of something other than a list")
        target.extend(items)

    def stack_global(self, _: Any) -> None:
        module, name = self.take(2)
        self.stack.append(_Global(f"{module} {name}"))

    def reduce(self, _: Any) -> None:
        """What other pickles call a function for."""
        named, arguments = self.take(2)
        if not isinstance(named, _Global) or not isinstance(arguments, tuple):
            raise BatchError("it calls what cannot be called")
        if named.meaning == "array":
            self.stack.append(_Array())
        elif named.meaning == "dtype":
            self.stack.append(_Dtype(_bytes(arguments[0]).decode()))
        elif named.meaning == "bytes" and arguments[1] in ("latin1", b"latin1"):
            self.stack.append(_bytes(arguments[0]))
        else:
            raise BatchError("it calls what cannot be called")

    def build(self, _: Any) -> None:
        target, state = self.take(2)
        if not isinstance(target, _Array | _Dtype):
            raise BatchError("it alters what cannot be altered")
        target.build(state)
        self.stack.append(target)


def _itself(argument: Any) -> Any:
    return argument


_PUSHES: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1"), _itself),
    **dict.fromkeys(("BINUNICODE", "SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES"), _itself),
    **dict.fromkeys(("BINSTRING", "SHORT_BINSTRING"), _bytes),
    "NONE": lambda _: None,
    "NEWTRUE": lambda _: True,
    "NEWFALSE": lambda _: False,
    "EMPTY_DICT": lambda _: {},
    "EMPTY_LIST": lambda _: [],
    "EMPTY_TUPLE": lambda _: (),
    "GLOBAL": _Global,
}
"""Instructions that put something on the stack, and what they make of their argument."""

_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    "MARK": _Machine.mark,
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), _Machine.put),
    "MEMOIZE": _Machine.memoize,
    **dict.fromkeys(("BINGET", "LONG_BINGET"), _Machine.get),
    "TUPLE": lambda machine, _: machine.push_tuple(machine.to_mark()),
    "TUPLE1": lambda machine, _: machine.push_tuple(machine.take(1)),
    "TUPLE2": lambda machine, _: machine.push_tuple(machine.take(2)),
    "TUPLE3": lambda machine, _: machine.push_tuple(machine.take(3)),
    "SETITEM": lambda machine, _: machine.set_items(machine.take(2)),
    "SETITEMS": lambda machine, _: machine.set_items(machine.to_mark()),
    "APPEND": lambda machine, _: machine.append(machine.take(1)),
    "APPENDS": lambda machine, _: machine.append(machine.to_mark()),
    "STACK_GLOBAL": _Machine.stack_global,
    "REDUCE": _Machine.reduce,
    "BUILD": _Machine.build,
}
"""All other instructions of a batch."""
