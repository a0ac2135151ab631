"""Image files of any size, to be classified."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from airbench.data.foreign import MAX_IMAGE_FILE, is_litter, one_line, read_regular
from airbench.data.images import SUFFIXES, decoding
from airbench.errors import DataError


def read_photos(paths: Sequence[Path], side: int, channels: int) -> tuple[list[str], Tensor]:
    """Read image files, and those in folders, upright, their middle square resized to ``side``.

    Transparent pixels are white.

    Returns their names and pixels ``(N, side, side, channels)`` uint8. Raises DataError if there are none, or one
    cannot be read.
    """
    files = [file for path in paths for file in _files(path)]
    if not files:
        raise DataError(f"{' '.join(map(str, paths))}: no PNG or JPEG files")
    with decoding():
        images = np.stack([_read(file, side, channels) for file in files])
    return [str(file) for file in files], torch.from_numpy(images)


def _files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for file in sorted(path.rglob("*")):
        if file.suffix.lower() in SUFFIXES and file.is_file() and not is_litter(file.relative_to(path).as_posix()):
            yield file


def _read(file: Path, side: int, channels: int) -> "np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]":
    with one_line(str(file), state="not a readable PNG or JPEG", remedy="leave it out"):
        content = read_regular(file, MAX_IMAGE_FILE)
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as image:
            if image.width * image.height > Image.MAX_IMAGE_PIXELS:  # type: ignore[operator]
                raise DataError(f"{file}: {image.width}×{image.height} pixels are too many")
            pixels = _opaque(ImageOps.exif_transpose(image)).convert("RGB" if channels == 3 else "L")
            if pixels.size != (side, side):
                pixels = ImageOps.fit(pixels, (side, side), Image.Resampling.LANCZOS)
            return np.asarray(pixels).reshape(side, side, channels)


def _opaque(image: Image.Image) -> Image.Image:
    """Return 8-bit pixels without transparency."""
    if image.mode.startswith("I"):  # 16 bits
        return Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image
