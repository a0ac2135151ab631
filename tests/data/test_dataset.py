"""Identity and canonical order do not depend on the order in which images were read."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airbench.data.dataset import channel_statistics, fingerprint, make_dataset, make_split
from airbench.errors import DataError

CLASSES = ("a", "b")


def images(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 4, 4, 3), np.uint8)


def labels(n: int) -> np.ndarray:
    return (np.arange(n) % 2).astype(np.uint8)


@given(st.permutations(range(12)))
def test_any_order_of_the_same_images_gives_the_same_split(order: list[int]) -> None:
    one, other = make_split(images(12), labels(12)), make_split(images(12)[order], labels(12)[order])
    assert one.fingerprint == other.fingerprint
    assert np.array_equal(one.images, other.images)
    assert np.array_equal(one.labels, other.labels)


def test_fingerprint_is_sha256_over_the_sorted_digests() -> None:
    x, y = images(3), labels(3)
    digests = sorted(
        hashlib.sha256(image.tobytes() + bytes([label])).digest() for image, label in zip(x, y, strict=True)
    )
    assert make_split(x, y).fingerprint == hashlib.sha256(b"".join(digests)).hexdigest()
    assert fingerprint(make_split(x, y)) == make_split(x, y).fingerprint


def test_one_changed_pixel_or_label_changes_the_fingerprint() -> None:
    x, y = images(5), labels(5)
    original = make_split(x, y).fingerprint
    x2 = x.copy()
    x2[3, 0, 0, 0] ^= 1
    y2 = y.copy()
    y2[3] ^= 1
    assert original not in {make_split(x2, y).fingerprint, make_split(x, y2).fingerprint}


def test_channel_statistics_equal_numpys() -> None:
    x = images(50)
    mean, std = channel_statistics(x)
    scaled = x.astype(np.float64) / 255
    assert mean == pytest.approx(scaled.mean((0, 1, 2)), abs=6e-5)
    assert std == pytest.approx(scaled.std((0, 1, 2)), abs=6e-5)


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ((images(4)[..., :1], labels(4)), (images(4), labels(4)), "shape"),
        ((images(4).astype(np.float32), labels(4)), (images(4), labels(4)), "float32"),
        ((images(4), labels(3)), (images(4), labels(4)), "labels"),
        ((images(4), labels(4) + 1), (images(4), labels(4)), "0..1"),
        ((images(4), labels(4) * 0), (images(4), labels(4)), "no images of class b"),
        ((images(4), labels(4)), (images(0), labels(0)), "0 images"),
        ((images(4), labels(4)), (images(4)[:, :2], labels(4)), "must all be square: they are 2×4"),
        ((images(4), labels(4)), (images(4)[:, :2, :2], labels(4)), "differ in shape"),
        ((images(4)[..., :2], labels(4)), (images(4), labels(4)), "C 1 or 3"),
    ],
)
def test_what_is_no_dataset_is_refused(train: tuple, test: tuple, message: str) -> None:
    with pytest.raises(DataError, match=message):
        make_dataset("x", train, test, CLASSES, "somewhere")


def test_labels_of_more_than_256_classes_are_two_bytes() -> None:
    x, y = images(600), np.arange(600) % 300
    data = make_dataset("x", (x, y), (x, y), tuple(map(str, range(300))), "somewhere")
    assert data.train.labels.dtype == np.uint16
    digests = sorted(
        hashlib.sha256(image.tobytes() + int(label).to_bytes(2, "little")).digest()
        for image, label in zip(x, y, strict=True)
    )
    assert data.train.fingerprint == hashlib.sha256(b"".join(digests)).hexdigest()
    assert fingerprint(data.train) == data.train.fingerprint


def test_labels_of_256_classes_are_one_byte() -> None:
    x, y = images(256), np.arange(256)
    data = make_dataset("x", (x, y), (x, y), tuple(map(str, range(256))), "somewhere")
    assert data.train.labels.dtype == np.uint8


def test_only_a_name_with_known_fingerprints_can_be_genuine() -> None:
    x, y = images(4), labels(4)
    assert not make_dataset("nobody", (x, y), (x, y), CLASSES, "somewhere").genuine
    assert not make_dataset("folder", (x, y), (x, y), CLASSES, "somewhere").genuine
