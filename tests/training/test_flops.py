"""Arithmetic: the published figure, and a count by hand."""

import pytest
import torch

from airbench.data.transforms import ImageShape
from airbench.device import cpu_has_bf16
from airbench.recipe import load_recipe
from airbench.training.flops import count_flop
from airbench.training.peak import measure_peak
from tests.conftest import CONFIGS


def test_airbench94_muon_takes_the_published_arithmetic() -> None:
    recipe = load_recipe(CONFIGS / "records" / "airbench94_muon.yaml").recipe
    flop = count_flop(recipe, 200, 10_000, ImageShape(32, 3, 10))
    assert flop["trial"] / 1e15 == pytest.approx(0.29, abs=0.015)
    views = 6
    forward = flop["evaluation"] / 10_000 / views
    assert forward == pytest.approx(236e6, rel=0.02)
    # By hand: 2 · positions · filter weights for each convolution, and the head.
    by_hand = 2 * (
        31**2 * 12 * 24 + 31**2 * 24 * 64 * 9 + 15**2 * 64 * 64 * 9 + 15**2 * 64 * 256 * 9 + 7**2 * 256 * 256 * 9
        + 7**2 * 256 * 256 * 9 + 3**2 * 256 * 256 * 9 + 256 * 10
    )  # fmt: skip
    assert forward == by_hand


def test_peak_is_positive_and_in_the_right_units() -> None:
    peak = measure_peak(torch.device("cpu"))
    assert 0 < peak["fp32_tflops"] < 100
    assert (peak["bf16_tflops"] is not None) == cpu_has_bf16()  # emulated, one product takes half a minute
    assert 0.1 < peak["copy_gbs"] < 10_000
