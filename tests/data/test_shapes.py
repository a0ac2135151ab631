"""The built-in images: the same bytes everywhere, balanced, and not to be had from single pixels."""

import numpy as np

from airbench.data.dataset import Dataset
from airbench.data.shapes import SHAPES, draw_shapes, draw_split


def test_same_seed_same_bytes_and_another_seed_others() -> None:
    one, same, other = (draw_shapes(seed=s, train_images=60, test_images=20) for s in (3, 3, 4))
    assert one.train.fingerprint == same.train.fingerprint
    assert one.test.fingerprint == same.test.fingerprint
    assert len({one.train.fingerprint, one.test.fingerprint, other.train.fingerprint, other.test.fingerprint}) == 4


def test_bytes_are_those_of_every_other_machine() -> None:
    known = "dcdfbd31b6f36424ef74cf2ae558a2d58c651fdc60e589404aa867db1210dde7"
    assert draw_shapes(train_images=200, test_images=50).train.fingerprint == known, "raise SHAPES_VERSION"


def test_classes_are_balanced_and_images_use_the_whole_range() -> None:
    images, labels = draw_split(np.random.Philox(key=(0, 0)), 305)
    counts = np.bincount(labels, minlength=len(SHAPES))
    assert counts.max() - counts.min() <= 1
    assert images.min() == 0
    assert images.max() == 255


def test_train_and_test_share_no_image(small_shapes: Dataset) -> None:
    train = {image.tobytes() for image in small_shapes.train.images}
    assert len(train) == len(small_shapes.train)
    assert not train & {image.tobytes() for image in small_shapes.test.images}


def test_a_linear_classifier_on_pixels_learns_next_to_nothing() -> None:
    data = draw_shapes(train_images=4000, test_images=1000)
    x, x_test = (s.images.reshape(len(s), -1) / 255.0 - 0.5 for s in (data.train, data.test))
    targets = np.eye(10)[data.train.labels]
    best = 0.0
    for ridge in (1e1, 1e2, 1e3, 1e4):
        weights = np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ targets)
        best = max(best, float(((x_test @ weights).argmax(1) == data.test.labels).mean()))
    assert best < 0.5
