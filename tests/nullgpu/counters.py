"""Reading the null GPU's counts, within the process that runs on it."""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache


@dataclass(frozen=True)
class Counters:
    """Counts since the process started or since :func:`reset`, in the order of ``Counters`` in ``src/nullgpu.h``."""

    launches: int = 0
    """Work that the host started: kernels, copies, fills; a graph counts once."""
    kernels: int = 0
    """The same, with the kernels, copies and fills inside a graph instead of the graph."""
    graph_launches: int = 0
    """Replays of CUDA graphs."""
    syncs: int = 0
    """Calls that wait for the device."""
    pageable_copies: int = 0
    """Copies between device and host memory that is not pinned: the host waits for them as well."""
    mallocs: int = 0
    """cudaMalloc: the caching allocator had no room."""
    host_allocs: int = 0
    """cudaHostAlloc and cudaHostRegister: no pinned block was free."""
    captures: int = 0
    """CUDA graph captures that were begun."""
    violations: int = 0
    """Calls that a capture forbids."""

    def __sub__(self, other: "Counters") -> "Counters":
        return Counters(**{f.name: getattr(self, f.name) - getattr(other, f.name) for f in fields(self)})

    def __add__(self, other: "Counters") -> "Counters":
        return Counters(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})


_Listener = ctypes.CFUNCTYPE(None, ctypes.c_char_p)
_listener = _Listener()
"""The current callback, kept alive for the library."""


@cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(None)
    if not hasattr(library, "nullgpu_read"):
        raise RuntimeError("this process does not run on the null GPU: start it with tests.nullgpu.run")
    library.nullgpu_names.restype = ctypes.c_char_p
    return library


def counters() -> Counters:
    """The current counts."""
    values = (ctypes.c_long * len(fields(Counters)))()
    _library().nullgpu_read(values)
    return Counters(*values)


def by_name() -> dict[str, int]:
    """Number of calls by name of kernel, copy or function. A captured kernel counts once, however often replayed."""
    lines = _library().nullgpu_names().decode().splitlines()
    return {name: int(count) for count, name in (line.split("\t", 1) for line in lines)}


def reset() -> None:
    """Set all counts to zero."""
    _library().nullgpu_reset()


def on_sync(callback: Callable[[str], None] | None) -> None:
    """Call ``callback`` with the name of each call that waits for the device, on the thread that makes it.

    An exception that it raises is printed and dropped. None removes the callback.
    """
    global _listener
    listener = _Listener(lambda name: callback(name.decode())) if callback else _Listener()
    _library().nullgpu_on_sync(listener)
    _listener = listener
