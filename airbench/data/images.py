"""Decoding image files, all of one size, whose sizes are checked before any of them is decoded."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from warnings import catch_warnings, simplefilter

import numpy as np
from PIL import Image

from airbench.data.catalog import DatasetSpec
from airbench.data.dataset import Array
from airbench.data.foreign import MAX_TOTAL, MIB, one_line
from airbench.errors import DataError

SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
"""Suffixes of image files, and what Pillow calls their format."""
MAX_SIDE = 2048

_CHANNELS = {"L": 1, "RGB": 3}
_MODES = {1: "grey", 3: "RGB"}


class ImageDecoder:
    """Decodes the images of a data set. Where its specification leaves their size open, the first one settles it."""

    def __init__(self, spec: DatasetSpec, source: str):
        self.spec, self.source = spec, source
        self.side, self.channels = spec.side, spec.channels
        self.first = ""
        self.decoded = 0

    def decode(self, content: bytes, name: str, formats: tuple[str, ...] = ("PNG", "JPEG")) -> Array:
        """Decode the file ``name`` to pixels ``(H, W, C)``. Raises DataError if it is none of the right size."""
        where = f"{self.source}: {name}"
        state = f"not a readable {' or '.join(formats)}"
        with one_line(where, state=state), Image.open(io.BytesIO(content), formats=formats) as image:
            self._check(image, name)
            pixels: Array = np.asarray(image)
        self.decoded += pixels.nbytes
        if self.decoded > MAX_TOTAL:
            raise DataError(f"{self.source}: more than {MAX_TOTAL // (1024 * MIB)} GiB of images, too many to hold")
        return pixels.reshape(*pixels.shape[:2], -1)

    def _check(self, image: Image.Image, name: str) -> None:
        width, height = image.size
        channels = _CHANNELS.get(image.mode)
        if self.side is None and width == height <= MAX_SIDE and channels:
            self.side, self.channels, self.first = width, channels, name
        if (width, height, channels) == (self.side, self.side, self.channels):
            return
        this = f"{name} is {width}×{height} {_MODES[channels] if channels else image.mode}"
        if self.spec.side is not None:
            assert self.spec.channels
            raise DataError(
                f"{self.source}: {this}; {self.spec.title} is {self.side}×{self.side} {_MODES[self.spec.channels]}"
            )
        other = f"{self.first} is {self.side}×{self.side} {_MODES[self.channels]}" if self.channels else ""
        bounds = f"at most {MAX_SIDE}×{MAX_SIDE}, grey or RGB"
        raise DataError(f"{self.source}: images must all be square and of one size: {this}, {other or bounds}")


@contextmanager
def decoding() -> Iterator[None]:
    """Silence Pillow's warnings about images that are refused anyway."""
    with catch_warnings():
        simplefilter("ignore", Image.DecompressionBombWarning)
        yield
