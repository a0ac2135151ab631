"""Images that a user's program brings: checked, and made a data set in the user's order."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from airbench.data.dataset import Dataset, channel_statistics, make_split
from airbench.errors import DataError

Images = tuple[Any, Any]
"""Images ``(N, H, W, C)`` or ``(N, C, H, W)`` uint8 and labels ``(N,)``, as tensors or arrays."""

MAX_CLASSES = 2**16


def own_images(train: Images, test: Images) -> Dataset:
    """Make a data set of a user's own tensors, in their order. Raises DataError if they do not fit each other."""
    named = ((train, "training images"), (test, "test images"))
    (images, labels), (test_images, test_labels) = ((pixels(x, name), _labels(y, name)) for (x, y), name in named)
    for name, x, y in (("training images", images, labels), ("test images", test_images, test_labels)):
        if len(x) != len(y) or not len(x):
            raise DataError(f"{name}: {len(x)} images but {len(y)} labels")
    if images.shape[1:] != test_images.shape[1:] or images.shape[1] != images.shape[2]:
        raise DataError(f"images must be square and of one size: {images.shape[1:]} and {test_images.shape[1:]}")
    classes = tuple(map(str, range(int(max(labels.max(), test_labels.max())) + 1)))
    mean, std = channel_statistics(images)
    training, testing = (
        replace(make_split(x, y), images=x, labels=y)  # fingerprinted, but in the user's order
        for x, y in ((images, labels), (test_images, test_labels))
    )
    return Dataset("own", training, testing, classes, mean, std, "images given as tensors")


def pixels(images: Any, name: str) -> npt.NDArray[np.uint8]:
    """Return images as ``(N, H, W, C)``. Raises DataError unless they are uint8 of that shape or ``(N, C, H, W)``."""
    array = np.asarray(images.cpu() if isinstance(images, Tensor) else images)
    if array.ndim == 4 and array.shape[3] not in (1, 3) and array.shape[1] in (1, 3):
        array = array.transpose(0, 2, 3, 1)
    if array.ndim != 4 or array.shape[3] not in (1, 3) or array.dtype != np.uint8:
        raise DataError(f"{name}: {array.dtype} of shape {array.shape}; give uint8, N×H×W×C or N×C×H×W, C 1 or 3")
    return np.ascontiguousarray(array)


def _labels(labels: Any, name: str) -> npt.NDArray[np.uint16]:
    array = np.asarray(labels.cpu() if isinstance(labels, Tensor) else labels)
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise DataError(f"{name}: labels are {array.dtype} of shape {array.shape}; give class numbers from 0")
    if len(array) and not (array.min() >= 0 and array.max() < MAX_CLASSES):
        raise DataError(f"{name}: labels lie between {array.min()} and {array.max()}; give class numbers from 0")
    return array.astype(np.uint16)
