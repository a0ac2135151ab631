"""Compiled kernels for a CPU: C++ that is built when the package is installed, where there is a compiler.

Whatever they do, PyTorch's own operations do as well: as the reference in tests, and where the kernels were not built.
"""

import ctypes
import hashlib
import sysconfig
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

_VERSION = 3
"""Of the interface: kernels that were built with another one are not used."""

_FILE = Path(__file__).with_name("_kernels" + (sysconfig.get_config_var("EXT_SUFFIX") or ".so"))


@cache
def kernels() -> ctypes.CDLL | None:
    """The compiled kernels; None where they were not built, or with another interface."""
    try:
        # PyTorch's OpenMP is there already: its threads run the kernels as well, rather than others beside them.
        library = ctypes.CDLL(str(_FILE))
        return library if library.airbench_kernels_version() == _VERSION else None
    except (OSError, AttributeError):
        return None


def kernels_hash() -> str | None:
    """SHA-256 of the compiled kernels, which may be older than their sources; None where there are none."""
    return hashlib.sha256(_FILE.read_bytes()).hexdigest() if kernels() is not None else None


def on_cpu(x: Tensor) -> bool:
    """Whether ``x`` are images in a CPU's memory, of a type it multiplies, and nobody traces what is done to them."""
    return (
        type(x) is Tensor  # no fake tensor
        and x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.bfloat16)
        and x.ndim == 4
        and not torch.compiler.is_compiling()
    )


def runs_fast(x: Tensor) -> bool:
    """Whether the kernels are there and take ``x``: images of one pixel or more, in channels-last."""
    return (
        on_cpu(x)
        and x.numel() > 0
        and x.is_contiguous(memory_format=torch.channels_last)
        and kernels() is not None
    )  # fmt: skip


def call(name: str, like: Tensor, *values: Tensor | int | None) -> int:
    """Call a kernel: whether ``like`` is bfloat16, what the kernel takes, and the number of threads."""
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
    """Memory for images ``(N, C, H, W)`` in channels-last."""
    return torch.empty(shape, dtype=dtype, memory_format=torch.channels_last)
