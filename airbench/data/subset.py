"""A list of training images to train on, from a file."""

from io import BytesIO
from pathlib import Path

import numpy as np

from airbench.data.foreign import MIB, one_line, read_regular
from airbench.errors import DataError

MAX_LIST = 64 * MIB


def read_subset(path: str, images: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Read the positions of training images, of which there are ``images``, from a .txt or .npy file.

    Returns them in ascending order, ``(n,)`` int64. Text has one position per line. Positions count from 0 in canonical
    order (see :func:`dataset.make_split`), in which predictions are kept as well. Raises DataError for positions that
    do not exist or are given twice.
    """
    with one_line(path, state="not a list of positions", remedy="give one whole number per line, or a .npy file"):
        content = read_regular(Path(path).expanduser(), MAX_LIST)
        if path.endswith(".npy"):
            found = np.load(BytesIO(content), allow_pickle=False)
        else:
            found = np.array([int(word) for word in content.decode().split()], np.int64)
        if found.ndim != 1 or not np.issubdtype(found.dtype, np.integer) or not len(found):
            raise DataError(f"{path}: {found.dtype} of shape {found.shape}; give a list of whole numbers")
    if found.min() < 0 or found.max() >= images:
        wrong = found[(found < 0) | (found >= images)][0]
        raise DataError(f"{path}: there is no training image {wrong}: they are 0 to {images - 1}")
    values, counts = np.unique(found, return_counts=True)
    if counts.max() > 1:
        raise DataError(f"{path}: image {values[counts.argmax()]} is listed {counts.max()} times; list each once")
    return values.astype(np.int64)  # ascending: the order of a list means nothing
