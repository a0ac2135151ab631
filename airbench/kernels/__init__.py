"""Compiled CPU kernels: C++ built when the package is installed, if there is a compiler.

Each kernel has an equivalent in PyTorch's own operations, which is its reference in tests and its fallback.
"""

import ctypes
import hashlib
import sysconfig
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

_VERSION = 3
"""Interface version. Kernels that were built with another one are not used."""

_FILE = Path(__file__).with_name("_kernels" + (sysconfig.get_config_var("EXT_SUFFIX") or ".so"))


_PROCESSORS = ("any processor", "AVX2", "AVX-512", "AVX-512 with bfloat16")
"""Kinds of processor that the kernels have loops for, by the number that they give it."""


@cache
def kernels() -> ctypes.CDLL | None:
    """Return the compiled kernels; None if they were not built, or with another interface."""
    library = _load()
    return None if isinstance(library, str) else library


@cache
def _load() -> ctypes.CDLL | str:
    """Return the compiled kernels, or why they are not used."""
    if not _FILE.exists():
        return "not compiled; install airbench again where there is a C++ compiler"
    try:
        # PyTorch has loaded its OpenMP already, so that the kernels run on its threads instead of starting more.
        library = ctypes.CDLL(str(_FILE))
        fits = library.airbench_kernels_version() == _VERSION
    except (OSError, AttributeError) as error:
        return f"not used: {_FILE.name} cannot be loaded ({' '.join(str(error).split())})"
    return library if fits else "not used: compiled for another version; install airbench again"


def describe_kernels() -> str:
    """Return which kernels a CPU runs, or why it has none. Selects the newest that this machine can run."""
    library = _load()
    if isinstance(library, str):
        return library
    kind = _PROCESSORS[library.airbench_use_processor(len(_PROCESSORS) - 1)]  # what this machine's can run
    amx = "AMX, which convolves in bfloat16 instead" if library.airbench_has_amx() else "AMX not on this CPU"
    return f"compiled, for {kind}; {amx}"


def kernels_hash() -> str | None:
    """Return the SHA-256 of the compiled kernels, which may be older than their sources; None without kernels."""
    return hashlib.sha256(_FILE.read_bytes()).hexdigest() if kernels() is not None else None


def on_cpu(x: Tensor) -> bool:
    """Return whether ``x`` ``(N, C, H, W)`` is float32 or bfloat16, on a CPU, and not being traced."""
    return (
        type(x) is Tensor  # no fake tensor
        and x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.bfloat16)
        and x.ndim == 4
        and not torch.compiler.is_compiling()
    )


def runs_fast(x: Tensor) -> bool:
    """Return whether the kernels exist and accept ``x``: channels-last images of one pixel or more."""
    return (
        on_cpu(x)
        and x.numel() > 0
        and x.is_contiguous(memory_format=torch.channels_last)
        and kernels() is not None
    )  # fmt: skip


def call(name: str, like: Tensor, *values: Tensor | int | None) -> int:
    """Call a kernel with whether ``like`` is bfloat16, ``values``, and the number of threads; return its result."""
    library = kernels()
    assert library is not None
    arguments = [
        ctypes.c_void_p(v.data_ptr() if isinstance(v, Tensor) else None)
        if v is None or isinstance(v, Tensor)
        else ctypes.c_int64(v)
        for v in values
    ]
    kernel = getattr(library, f"airbench_{name}")
    kernel.restype = ctypes.c_int64
    result: int = kernel(
        ctypes.c_int64(like.dtype == torch.bfloat16), *arguments, ctypes.c_int64(torch.get_num_threads())
    )
    return result


def empty_images(shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """Allocate images ``(N, C, H, W)``, channels-last."""
    return torch.empty(shape, dtype=dtype, device="cpu", memory_format=torch.channels_last)
