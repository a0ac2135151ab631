"""Real CIFAR-10, where a copy is named by AIRBENCH_DATA."""

import os
from pathlib import Path

import pytest

from airbench.data.dataset import Dataset
from airbench.data.layouts import read_local_copy
from airbench.recipe.data import DATASETS

COPY = os.environ.get("AIRBENCH_DATA")
pytestmark = [pytest.mark.real_data, pytest.mark.skipif(not COPY, reason="AIRBENCH_DATA names no copy of CIFAR-10")]


@pytest.fixture(scope="module")
def cifar10() -> Dataset:
    assert COPY
    return read_local_copy(DATASETS["cifar10"], Path(COPY))


def test_real_copy_is_genuine(cifar10: Dataset) -> None:
    fingerprints = {"train": cifar10.train.fingerprint, "test": cifar10.test.fingerprint}
    assert fingerprints == DATASETS["cifar10"].fingerprints
    assert cifar10.genuine


def test_statistics_are_the_published_ones(cifar10: Dataset) -> None:
    assert cifar10.mean == (0.4914, 0.4822, 0.4465)
    assert cifar10.std == (0.2470, 0.2435, 0.2616)


def test_first_images_mix_the_classes(cifar10: Dataset) -> None:
    counts = [int((cifar10.train.labels[:5000] == c).sum()) for c in range(10)]
    assert min(counts) > 400
