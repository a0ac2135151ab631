"""Choice of device and precision, and process-wide setup for large tensors."""

import ctypes
import os
import platform
from dataclasses import dataclass, field

import torch

from airbench.errors import DeviceError
from airbench.recipe.engine import Engine

_DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}


@dataclass(frozen=True)
class Machine:
    """A device and the precision to compute in."""

    device: torch.device
    dtype: torch.dtype
    threads: int = field(default_factory=torch.get_num_threads)
    """Number of CPU threads PyTorch uses."""
    fp32: str = "ieee"
    """Precision of float32 convolutions: ``ieee``, or ``tf32`` on CUDA."""

    @property
    def precision(self) -> str:
        """``fp16``, ``bf16`` or ``fp32``."""
        return next(name for name, dtype in _DTYPES.items() if dtype == self.dtype)

    def __str__(self) -> str:
        return f"{self.name}, {self.precision}"

    @property
    def name(self) -> str:
        """Name of the hardware, and on a CPU the number of threads."""
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        if self.device.type == "mps":
            return f"Apple GPU ({platform.processor() or platform.machine()})"
        return f"{cpu_name()}, {self.threads} threads"

    def use(self) -> None:
        """Set what PyTorch keeps per process to this machine's: recipes of one command may differ in it.

        These are the number of threads, the current CUDA device and the precision of float32 convolutions.
        """
        _THREADS.use(self.threads)
        self.use_gpu()

    def use_gpu(self) -> None:
        """Do the same, except for the number of threads, which must not change while something else is computing."""
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device.index or 0)
            torch.backends.cudnn.conv.fp32_precision = self.fp32  # type: ignore[attr-defined]


class _Threads:
    """PyTorch's number of threads: its own (or the user's) choice, and the one that a recipe has asked for since."""

    def __init__(self) -> None:
        self._asked: int | None = None
        self._before = 0

    def own(self) -> int:
        """Return the number of threads as it would be if no recipe had asked for another."""
        now = torch.get_num_threads()
        return self._before if now == self._asked else now

    def use(self, threads: int) -> None:
        """Set the number of threads."""
        self._before, self._asked = self.own(), threads
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)


_THREADS = _Threads()


def choose_machine(engine: Engine = Engine()) -> Machine:  # noqa: B008 - frozen
    """Return the device and precision that ``engine`` asks for. Raises DeviceError if they are not available."""
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    name = engine.device
    if name == "auto":
        name = next(kind for kind, there in present.items() if there)
    device = torch.device(name)
    if not present[device.type]:
        others = ", ".join(kind for kind, there in present.items() if there)
        raise DeviceError(f"engine.device = {name}: not available to PyTorch {torch.__version__}; use {others}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"engine.device = {name}: there are {torch.cuda.device_count()} GPUs, numbered from 0 "
            f"(CUDA_VISIBLE_DEVICES = {os.environ.get('CUDA_VISIBLE_DEVICES', 'unset')})"
        )
    precision = engine.precision
    if precision == "auto":
        precision = "fp16" if device.type == "cuda" else "bf16" if device.type == "cpu" and cpu_has_bf16() else "fp32"
    if precision == "fp16" and device.type == "cpu":
        raise DeviceError("engine.precision = fp16: too slow on a CPU; use bf16, fp32 or auto")
    fp32 = "tf32" if device.type == "cuda" and engine.tf32 else "ieee"
    return Machine(device, _DTYPES[precision], engine.threads or _THREADS.own(), fp32)


def cpu_has_bf16() -> bool:
    """Return whether the CPU multiplies bfloat16 matrices in hardware (AMX or AVX512-BF16)."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            flags = next((line for line in file if line.startswith(("flags", "Features"))), "")
    except OSError:
        return False
    words = set(flags.partition(":")[2].split())
    return bool(words & {"amx_bf16", "avx512_bf16", "bf16"})


def prepare(machine: Machine) -> None:
    """Set up the process for training on ``machine``. Call once, before creating large tensors."""
    if machine.device.type == "cpu":
        keep_freed_memory()
    if machine.device.type == "cuda":
        machine.use_gpu()
        torch.backends.cudnn.benchmark = True
        torch._dynamo.config.recompile_limit = 64  # a process may train many recipes, in several modes and shapes


def keep_freed_memory() -> bool:
    """Make glibc keep freed blocks of any size instead of returning them to the system.

    A training step frees and allocates gigabytes of activations. By default each large block is unmapped and mapped
    again, and the page faults cost as much as half of the arithmetic. Returns False if the C library is not glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    m_trim_threshold, m_top_pad, m_mmap_threshold, m_mmap_max = -1, -2, -3, -4
    largest = 2**31 - 1
    libc = ctypes.CDLL(None)
    results = [
        libc.mallopt(m_mmap_threshold, largest) or libc.mallopt(m_mmap_max, 0),  # older ones allow 32 MiB at most
        libc.mallopt(m_trim_threshold, -1),  # never; 2 GiB would be exceeded by the free end of a large net's heap
        libc.mallopt(m_top_pad, 64 * 2**20),
    ]
    return all(results)


def cpu_name() -> str:
    """Return the name of the CPU, as far as the system reports it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def cpu_count() -> int:
    """Return the number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def send(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy from the host to ``device`` without making the host wait. Accepts any strides, including ``expand``'s."""
    if device.type == "cuda" and torch.cuda.is_available():
        tensor = tensor.contiguous().pin_memory()  # pinning writes each element once
    return tensor.to(device, non_blocking=device.type == "cuda")
