"""A GPU that computes nothing, so that the CUDA path is tested where there is no GPU.

A library (``src/``) takes the place of the CUDA runtime, cuBLAS, cuDNN and the driver. PyTorch's CUDA build then finds
devices named ``Null GPU 0`` and so on. Kernels are counted and not run, and **every value that is read from a device is
zero**: losses and accuracies say nothing. What is real is all that PyTorch does on the host: the caching allocator,
pinned memory, streams and events, CUDA graphs and what a capture forbids, torch.compile and Triton up to the launch.

It shows crashes in host code, launches, calls that wait for the device, allocations, and violations of a capture. It
does not show numeric results, the time of a kernel, or how long the host really waits: the device is always idle, so
that events are always ready and pinned blocks always free again. Convolutions go through cuDNN's legacy interface. Of
cuSOLVER, only SVD and symmetric eigenvalues are simulated; other calls raise.

    from tests import nullgpu

    outcome = nullgpu.run(["train.py", "configs/quickstart.yaml", "--device", "cuda"])
    assert outcome.code == 0, outcome.output

Within that process, :mod:`tests.nullgpu.counters` reads the counts. :mod:`tests.nullgpu.budget` measures what a command
of the program does to the GPU while the clock runs.
"""

from tests.nullgpu.library import UnavailableError, build
from tests.nullgpu.process import Outcome, environment, run

__all__ = ["Outcome", "UnavailableError", "build", "environment", "run"]
