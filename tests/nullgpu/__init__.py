"""A GPU that computes nothing, so that the CUDA path is tested where there is no GPU.

A library (``src/``) takes the place of the CUDA runtime, cuBLAS, cuDNN and the driver. PyTorch's CUDA build then finds
devices named ``Null GPU 0`` and so on. Kernels are counted and not run, and **every value that is read from a device is
zero**: losses and accuracies say nothing. What is real is all that PyTorch does on the host: the caching allocator,
pinned memory, streams and events, CUDA graphs and what a capture forbids, torch.compile and Triton up to the launch.

What shows: crashes of the host's code, launches, calls that wait for the device, allocations, violations of a capture.
What does not: numeric results, the time of a kernel, cuDNN's graph interface, and cuSOLVER, which is refused.

    from tests import nullgpu

    outcome = nullgpu.run(["train.py", "configs/quickstart.yaml", "--device", "cuda"])
    assert outcome.code == 0, outcome.output

Within that process, :mod:`tests.nullgpu.counters` reads the counts, and :mod:`tests.nullgpu.budget` says what a command
of the program does to the GPU while the clock runs.
"""

from tests.nullgpu.build import UnavailableError, build
from tests.nullgpu.process import Outcome, environment, run

__all__ = ["Outcome", "UnavailableError", "build", "environment", "run"]
