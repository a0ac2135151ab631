"""Choosing a device: what is there, or one clear line."""

import ctypes
import platform
import subprocess
import sys

import pytest
import torch

from airbench import device
from airbench.errors import DeviceError
from airbench.recipe.engine import Engine
from airbench.training.clock import Clock


def test_auto_takes_what_is_there() -> None:
    machine = device.choose_machine()
    if not torch.cuda.is_available() and not torch.backends.mps.is_available():
        assert machine.device.type == "cpu"
        assert machine.precision == ("bf16" if device.cpu_has_bf16() else "fp32")
    assert machine.precision in str(machine)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(DeviceError, match=r"device = cuda: not available to .*; use .*cpu"):
        device.choose_machine(Engine(device="cuda"))


def test_fp16_on_a_cpu_is_refused() -> None:
    with pytest.raises(DeviceError, match="fp16"):
        device.choose_machine(Engine(device="cpu", precision="fp16"))


def test_auto_on_cuda_is_fp16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert device.choose_machine(Engine(device="auto")).precision == "fp16"


def test_each_machine_in_turn_sets_its_own_threads_current_gpu_and_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    current: dict[str, int] = {}
    monkeypatch.setattr(torch.cuda, "set_device", lambda index: current.update(gpu=index))
    conv = torch.backends.cudnn.conv
    before = torch.get_num_threads(), conv.fp32_precision
    machines = [
        device.Machine(torch.device("cuda:1"), torch.float32, 2, "ieee"),
        device.Machine(torch.device("cuda"), torch.float32, 1, "tf32"),
    ]
    try:
        for machine, gpu in zip([*machines, *machines], [1, 0, 1, 0], strict=True):
            machine.use()
            assert (current["gpu"], conv.fp32_precision, torch.get_num_threads()) == (
                gpu, machine.fp32, machine.threads,
            )  # fmt: skip
    finally:
        torch.set_num_threads(before[0])
        conv.fp32_precision = before[1]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_large_tensors_are_not_given_back_to_the_system() -> None:
    """After a warm-up, freeing and asking again for 64 MB causes no page faults worth the name."""
    code = """
import resource, sys, torch
from airbench.device import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def touch():
    for _ in range(20):
        torch.ones(2**24)
touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
touch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    faults = {
        mode: int(subprocess.run([sys.executable, "-c", code, mode], capture_output=True, text=True, check=True).stdout)
        for mode in ("keep", "plain")
    }
    assert faults["keep"] < 100
    assert faults["keep"] < faults["plain"]


def test_no_glibc_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(ctypes, "CDLL", lambda _: pytest.fail("called"))
    assert not device.keep_freed_memory()


def test_clock_adds_up_only_what_is_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([1.0, 3.0, 10.0, 10.5])
    monkeypatch.setattr("airbench.training.clock.time.perf_counter", lambda: next(now))
    clock = Clock(torch.device("cpu"))
    with clock:
        pass
    assert clock.seconds() == 2.0
    with clock:
        pass
    assert clock.seconds() == 2.5


def test_clock_cannot_run_twice_and_survives_an_error() -> None:
    clock = Clock(torch.device("cpu"))
    with clock, pytest.raises(RuntimeError, match="already running"), clock:
        pass
    with pytest.raises(ValueError), clock:
        raise ValueError
    with clock:
        pass


@pytest.mark.parametrize("tensor", [torch.tensor([0.0, 1.0]).expand(5, 2), torch.arange(12).view(3, 4).t()])
def test_tensors_of_any_strides_can_be_sent_to_a_gpu(tensor: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pinning copies into memory of the same strides, which raises where elements of an expanded tensor share it."""

    def pin(self: torch.Tensor) -> torch.Tensor:
        return torch.empty_strided(self.shape, self.stride(), dtype=self.dtype).copy_(self)

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    monkeypatch.setattr(torch.Tensor, "to", lambda self, *_, **__: self)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert torch.equal(device.send(tensor, torch.device("cuda")), tensor)
