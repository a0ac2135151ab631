"""The null GPU itself: it computes nothing, counts calls, and enforces the rules of a capture."""

import json
import platform
import shutil
from types import ModuleType
from typing import Any

import pytest
import torch

from tests.nullgpu import UnavailableError, build
from tests.nullgpu.counters import Counters, counters


@pytest.fixture(scope="module")
def probes(null_gpu: ModuleType) -> dict[str, Any]:
    """What :mod:`tests.nullgpu.probe` found on two devices."""
    outcome = null_gpu.run(["-m", "tests.nullgpu.probe"], devices=2)
    assert outcome.code == 0, outcome.output
    result: dict[str, Any] = json.loads(outcome.output.splitlines()[-1])
    return result


def counted(**expected: int) -> dict[str, int]:
    return vars(Counters(**expected))


def test_there_are_as_many_devices_as_asked_for_each_with_its_own_memory(probes: dict[str, Any]) -> None:
    found = probes["devices"]
    assert (found["count"], found["names"]) == (2, ["Null GPU 0", "Null GPU 1"])
    assert (found["on"], found["allocated"]) == ("cuda:1", [False, True])
    assert "invalid device ordinal" in found["no third"]


def test_every_value_read_from_a_device_is_zero(probes: dict[str, Any]) -> None:
    zeros, ones = [0.0] * 3, [1.0] * 3
    assert probes["values"] == {"pageable": zeros, "pinned": zeros, "computed": 0.0, "on the host": ones}


def test_launches_waits_and_allocations_are_counted(probes: dict[str, Any]) -> None:
    found = probes["counts"]
    assert found["product"]["launches"] == found["product"]["kernels"] == 1
    assert found["product"]["syncs"] == 0
    assert found["item"] == counted(launches=1, kernels=1, syncs=1)
    assert found["pageable copy"] == counted(launches=1, kernels=1, syncs=1, pageable_copies=1)
    assert found["pinned copy"] == counted(launches=1, kernels=1, host_allocs=1)
    assert found["large tensor"] == counted(mallocs=1)


def test_waits_are_told_to_a_listener_and_kernels_have_names(probes: dict[str, Any]) -> None:
    found = probes["counts"]
    assert found["heard"] == ["cudaStreamSynchronize", "cudaStreamSynchronize"]
    (name,) = found["names"]
    assert "clamp" in name  # relu
    assert found["after reset"] == counted(launches=1, kernels=1)


def test_more_memory_than_a_device_has_is_out_of_memory(probes: dict[str, Any]) -> None:
    assert probes["memory"]["error"].startswith("OutOfMemoryError: CUDA out of memory")


def test_a_replay_is_one_launch_of_the_kernels_captured_on_all_joined_streams(probes: dict[str, Any]) -> None:
    capture, replay = probes["graphs"]["capture"], probes["graphs"]["replay"]
    assert (capture["captures"], capture["violations"]) == (1, 0)
    assert capture["launches"] <= 2  # as a capture begins, PyTorch 2.11 sets a seed and its offset
    assert replay == counted(launches=1, kernels=2, graph_launches=1)


@pytest.mark.parametrize("forbidden", ["waiting", "reading"])
def test_waiting_in_a_capture_is_a_violation_that_ends_it(forbidden: str, probes: dict[str, Any]) -> None:
    found = probes["graphs"][forbidden]
    assert "operation failed due to a previous error during capture" in found["error"]
    assert found["violations"] == 1
    assert probes["graphs"]["capture afterwards"]["violations"] == 0


def test_pytorchs_own_check_of_a_capture_is_at_work(probes: dict[str, Any]) -> None:
    assert "cudaStreamCaptureStatusActive" in probes["graphs"]["a search of cuDNN's"]["error"]


def test_decompositions_have_shapes_and_what_is_not_simulated_is_an_error(probes: dict[str, Any]) -> None:
    found = probes["linear_algebra"]
    assert found["svd"] == [[3, 12, 12], [3, 12], [3, 12, 12]]
    assert found["eigh"] == [[3, 12], [3, 12, 12]]
    assert "cusolver" in found["qr"]


def test_counting_elsewhere_than_on_a_null_gpu_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"tests\.nullgpu\.run"):
        counters()


@pytest.mark.parametrize(
    ("owner", "name", "value", "reason"),
    [
        (platform, "machine", lambda: "aarch64", "needs Linux x86_64, and this is Linux aarch64"),
        (platform, "system", lambda: "Darwin", "needs Linux x86_64, and this is Darwin"),
        (torch.version, "cuda", None, "needs PyTorch for CUDA"),
        (torch.version, "cuda", "12.8", "needs PyTorch for CUDA"),
        (shutil, "which", lambda _: None, r"needs g\+\+"),
    ],
)
def test_where_it_cannot_be_built_the_reason_is_told(
    owner: Any, name: str, value: Any, reason: str, null_gpu: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, value)
    with pytest.raises(UnavailableError, match=reason):
        build.__wrapped__()  # without the cache
