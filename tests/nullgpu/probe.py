"""Small pieces of work on two null GPUs and their counts: ``python -m tests.nullgpu.probe`` prints them as JSON."""

import json
import warnings
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch

from tests.nullgpu.counters import by_name, counters, on_sync, reset

Value = dict[str, Any]


def _counted(work: Callable[[], Any]) -> Value:
    before = counters()
    work()
    return asdict(counters() - before)


def _error_of(work: Callable[[], Any]) -> str:
    try:
        work()
    except RuntimeError as error:  # torch.OutOfMemoryError is one
        return f"{type(error).__name__}: {error}"
    return "none"


def devices() -> Value:
    """Two devices, each with memory of its own."""
    x = torch.ones(1000, device="cuda:1")
    return {
        "count": torch.cuda.device_count(),
        "names": [torch.cuda.get_device_name(device) for device in range(2)],
        "on": str((x + x).device),
        "allocated": [torch.cuda.memory_allocated(device) > 0 for device in range(2)],
        "no third": _error_of(lambda: torch.ones(3, device="cuda:2")),
    }


def values() -> Value:
    """Whatever was written, zeros are read."""
    pinned = torch.ones(3).pin_memory()
    return {
        "pageable": torch.ones(3).cuda().tolist(),
        "pinned": pinned.to("cuda", non_blocking=True).cpu().tolist(),
        "computed": (torch.ones((), device="cuda") + 1).item(),
        "on the host": pinned.tolist(),
    }


def counts() -> Value:
    """Counts of single operations of PyTorch."""
    x = torch.ones(64, 64, device="cuda")
    heard: list[str] = []
    on_sync(heard.append)
    result = {
        "product": _counted(lambda: x @ x),
        "item": _counted(lambda: x[0, 0].item()),
        "pageable copy": _counted(lambda: torch.ones(5000).to("cuda")),
        "pinned copy": _counted(lambda: torch.ones(5000).pin_memory().to("cuda", non_blocking=True)),
        "large tensor": _counted(lambda: torch.empty(1 << 28, device="cuda")),
        "heard": heard,
    }
    on_sync(None)
    reset()
    torch.relu(x)
    return result | {"names": by_name(), "after reset": asdict(counters())}


def memory() -> Value:
    """A tensor larger than a device."""
    return {"error": _error_of(lambda: torch.empty(50 << 30, dtype=torch.uint8, device="cuda"))}


def graphs() -> Value:
    """A capture, its replay, and what it forbids."""
    x = torch.ones(8, device="cuda")
    graph = torch.cuda.CUDAGraph()

    def capture() -> None:
        with torch.cuda.graph(graph):
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                y = x * 2
            torch.cuda.current_stream().wait_stream(side)
            torch.add(y, 1, out=x)

    def capture_with(forbidden: Callable[[], Any]) -> Callable[[], None]:
        def captured() -> None:
            with torch.cuda.graph(torch.cuda.CUDAGraph()):
                x.add_(1)
                forbidden()

        return captured

    result: Value = {"capture": _counted(capture), "replay": _counted(graph.replay)}
    pieces: dict[str, Callable[[], Any]] = {
        "waiting": torch.cuda.synchronize,
        "reading": lambda: x.sum().item(),
        "a search of cuDNN's": _convolution,
    }
    for name, forbidden in pieces.items():
        before = counters()
        error = _error_of(capture_with(forbidden))
        result[name] = {"error": error, "violations": (counters() - before).violations}
    return result | {"capture afterwards": _counted(capture_with(lambda: x.mul_(2)))}


def _convolution() -> torch.Tensor:
    torch.backends.cudnn.benchmark = True
    return torch.conv2d(torch.ones(1, 8, 8, 8, device="cuda"), torch.ones(8, 8, 3, 3, device="cuda"))


def linear_algebra() -> Value:
    """Factorisations that are simulated, and one that is not."""
    x = torch.ones(3, 12, 12, device="cuda")
    return {
        "svd": [list(part.shape) for part in torch.linalg.svd(x)],
        "eigh": [list(part.shape) for part in torch.linalg.eigh(x)],
        "qr": _error_of(lambda: torch.linalg.qr(x[0])),
    }


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    probes = (devices, values, counts, memory, graphs, linear_algebra)
    print(json.dumps({probe.__name__: probe() for probe in probes}))
