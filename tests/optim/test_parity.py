"""Muon against Keras's: other authors' code, and the same weights. (Against torch.optim.Muon: ``test_muon.py``.)"""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from airbench import Muon
from airbench.optim.orthogonalize import newton_schulz
from tests.conftest import CONFIGS
from tests.optim.keras_muon import SKIPPED

STEPS, LR, MOMENTUM = 100, 0.02, 0.9


def by_keras(folder: Path, start: np.ndarray, gradients: np.ndarray, nesterov: bool, decay: float) -> np.ndarray:
    given, found = folder / "given.npz", folder / "found.npz"
    np.savez(given, start=start, gradients=gradients, lr=LR, momentum=MOMENTUM, nesterov=nesterov, weight_decay=decay)
    done = subprocess.run(
        [sys.executable, "-m", "tests.optim.keras_muon", given, found],
        cwd=CONFIGS.parent,
        env={**os.environ, "KERAS_BACKEND": "torch", "KERAS_HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == SKIPPED:
        pytest.skip("Keras with its Muon is not installed")
    assert done.returncode == 0, done.stderr
    weight: np.ndarray = np.load(found)["weight"]
    return weight


@pytest.mark.parametrize(("nesterov", "decay", "shape"), [(True, 0.1, (24, 40)), (False, 0.0, (40, 24))])
def test_a_hundred_steps_are_those_of_kerass_muon(
    nesterov: bool, decay: float, shape: tuple[int, int], tmp_path: Path
) -> None:
    """Keras's buffer is an average, the factor on lr match_rms_adamw; both compute in float32 here."""
    rng = np.random.default_rng(0)
    start = rng.standard_normal(shape, dtype=np.float32)
    gradients = rng.standard_normal((STEPS, *shape), dtype=np.float32)
    theirs = torch.from_numpy(by_keras(tmp_path, start, gradients, nesterov, decay))
    p = nn.Parameter(torch.from_numpy(start.copy()))
    muon = Muon(
        [p],
        lr=LR,
        momentum=MOMENTUM,
        nesterov=nesterov,
        weight_decay=decay,
        adjust_lr="match_rms_adamw",
        orthogonalize=partial(newton_schulz, dtype=torch.float32),
    )
    for gradient in gradients:
        p.grad = torch.from_numpy(gradient)
        muon.step()
    assert (theirs - torch.from_numpy(start)).abs().max() > 0.3
    assert (p - theirs).abs().max() < 2e-5
