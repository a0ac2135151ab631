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


def test_a_transformers_attention_is_counted() -> None:
    """By hand, a multiply-add being 2: patches; matrices of 12 · width² and the two products of attention; head."""
    recipe = load_recipe("muonclip").recipe
    flop = count_flop(recipe, 1000, 10_000, ImageShape(32, 3, 10))
    tokens, width, depth = 64, 128, 4
    by_hand = 2 * (tokens * 48 * width + depth * (12 * tokens * width**2 + 2 * tokens**2 * width) + width * 10)
    assert flop["evaluation"] / 10_000 / 6 == by_hand
    first_layer = 2 * tokens * 48 * width  # needs no gradient with respect to the images
    newton_schulz = flop["step"] - 500 * (3 * by_hand - first_layer)
    square, wide = 2 * (2 * 128**3 + 128**3), 2 * (2 * 128**2 * 512 + 128**3)
    assert newton_schulz == 5 * depth * (4 * square + 2 * wide)
