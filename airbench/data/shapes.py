"""The built-in images: ten shapes, drawn by the program, for runs that need no download.

A 32×32 colour image shows one of ten shapes at a random place, size and angle, in random colours on a
random gradient, behind two small blots and under noise. Neither colour nor place tells the class, so a linear
classifier learns little; a convolutional net learns it in a minute.

The same seed gives the same bytes on every machine: per pixel there are only operations that IEEE 754 rounds
exactly (no sin or exp), on random bits from Philox.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from airbench.data.dataset import Array, Dataset, make_dataset

Field = npt.NDArray[np.float32]

SHAPES_VERSION = 2
"""Changes whenever the drawn bytes do."""

SIDE = 32
NOISE = 0.4
"""Amplitude of the noise: a triangular distribution over ± this share of full brightness."""
CONTRAST = 0.25
"""Least difference between a shape's colour and the mean background, in the channel where it is largest."""


def draw_shapes(*, seed: int = 0, train_images: int = 50_000, test_images: int = 10_000) -> Dataset:
    """Draw the dataset: ``train_images`` and ``test_images`` images, all classes equally often (± 1)."""
    train = draw_split(np.random.Philox(key=(seed, 0)), train_images)
    test = draw_split(np.random.Philox(key=(seed, 1)), test_images)
    return make_dataset("shapes", train, test, tuple(SHAPES), f"built-in shapes (seed {seed})")


def draw_split(bits: np.random.Philox, count: int) -> tuple[Array, Array]:
    """``count`` images ``(count, 32, 32, 3)`` and their labels, class after class."""
    rng = np.random.Generator(bits)
    images = np.empty((count, SIDE, SIDE, 3), np.uint8)
    labels = np.arange(count, dtype=np.int64) * len(SHAPES) // count
    for label, distance in enumerate(SHAPES.values()):
        where = np.flatnonzero(labels == label)
        for start in range(0, len(where), 500):  # a chunk stays in the processor's cache
            chunk = where[start : start + 500]
            images[chunk] = _draw(rng, distance, len(chunk))
    return images, labels.astype(np.uint8)


def _draw(rng: np.random.Generator, distance: Callable[[Field, Field], Field], n: int) -> Array:
    def uniform(low: float, high: float, *shape: int) -> Field:
        return (low + (high - low) * rng.random((n, *shape), np.float32)).astype(np.float32)

    y, x = np.meshgrid(*[np.arange(SIDE, dtype=np.float32) - 15.5] * 2, indexing="ij")
    radius = uniform(6.0, 10.0, 1, 1)
    shift_x, shift_y = uniform(-5, 5, 1, 1), uniform(-5, 5, 1, 1)
    cos, sin = _directions(uniform(-1, 1, 1, 1), uniform(0, 1, 1, 1), rng.random((n, 1, 1)) < 0.5)
    dx, dy = (x - shift_x) / radius, (y - shift_y) / radius
    alpha = _coverage(distance(dx * cos + dy * sin, dy * cos - dx * sin) * radius)

    base, ink = _colours(uniform(0.15, 0.85, 3), uniform(0, 1, 3), uniform(-1, 1, 1))
    slope_x, slope_y = uniform(-0.012, 0.012, 3), uniform(-0.012, 0.012, 3)
    blots = []
    for _ in range(2):
        centre_x, centre_y, size = uniform(-14, 14, 1, 1), uniform(-14, 14, 1, 1), uniform(2, 5, 1, 1)
        reach = np.sqrt((x - centre_x) ** 2 + (y - centre_y) ** 2) - size
        blots.append((_coverage(reach), uniform(0, 1, 3)))
    raw = np.frombuffer(rng.bytes(2 * n * SIDE * SIDE * 3), np.uint8).reshape(2, 3, n, SIDE, SIDE)
    out = np.empty((n, SIDE, SIDE, 3), np.uint8)
    for channel in range(3):
        value = base[:, channel, None, None] + slope_x[:, channel, None, None] * x
        value += slope_y[:, channel, None, None] * y
        value += alpha * (ink[:, channel, None, None] - value)
        for cover, colour in blots:
            value += cover * (colour[:, channel, None, None] - value)
        noise = raw[0, channel].astype(np.float32) - raw[1, channel]
        value = value * 255 + noise * np.float32(NOISE)
        out[..., channel] = np.clip(value, 0, 255)
    return out


def _coverage(distance: Field) -> Field:
    """Share of a pixel that lies inside, from its centre's signed distance to the outline in pixels."""
    return np.clip(0.5 - distance, 0, 1)


def _directions(t: Field, fold: Field, flip: npt.NDArray[np.bool_]) -> tuple[Field, Field]:
    """Cosine and sine of a random angle by square roots alone, which every machine rounds alike."""
    half = t * (0.5 + 0.5 * fold)  # tan of a quarter of the way round
    norm = 1 + half * half
    cos, sin = (1 - half * half) / norm, 2 * half / norm
    sign = np.where(flip, np.float32(-1), np.float32(1))
    return (cos * sign).astype(np.float32), (sin * sign).astype(np.float32)


def _colours(base: Field, wish: Field, direction: Field) -> tuple[Field, Field]:
    """Background and ink ``(n, 3)``: the ink is moved away where the two would be hard to tell apart."""
    difference = wish - base
    largest = np.abs(difference).max(axis=1, keepdims=True)
    weak = largest < CONTRAST
    push = np.where(base > 0.5, -CONTRAST, CONTRAST).astype(np.float32) * (1 + np.abs(direction) * 0.5)
    return base, np.where(weak, base + push, wish).astype(np.float32)


# Signed distances (negative inside) of outlines of about unit radius at (u, v); exact near the edge.


def _disc(u: Field, v: Field) -> Field:
    return np.sqrt(u * u + v * v) - np.float32(0.9)


def _ring(u: Field, v: Field) -> Field:
    r = np.sqrt(u * u + v * v)
    return np.maximum(r - 1, np.float32(0.55) - r)


def _semicircle(u: Field, v: Field) -> Field:
    v = v + np.float32(0.4)
    return np.maximum(np.sqrt(u * u + v * v) - np.float32(1.1), -v)


def _crescent(u: Field, v: Field) -> Field:
    bite = np.sqrt((u - np.float32(0.55)) ** 2 + v * v)
    return np.maximum(np.sqrt(u * u + v * v) - np.float32(1.05), np.float32(0.8) - bite)


def _triangle(u: Field, v: Field) -> Field:
    slant = np.float32(0.8660254) * np.abs(u)
    return np.maximum(slant + np.float32(0.5) * v, -v) - np.float32(0.6)


def _square(u: Field, v: Field) -> Field:
    return np.maximum(np.abs(u), np.abs(v)) - np.float32(0.8)


def _star(u: Field, v: Field) -> Field:
    slant, half = np.float32(0.8660254) * np.abs(u), np.float32(0.5) * v
    return np.minimum(np.maximum(slant + half, -v), np.maximum(slant - half, v)) - np.float32(0.52)


def _cross(u: Field, v: Field) -> Field:
    u, v = np.abs(u), np.abs(v)
    thin = np.float32(0.3)
    return np.minimum(np.maximum(u - 1, v - thin), np.maximum(u - thin, v - 1))


def _ell(u: Field, v: Field) -> Field:
    box = np.maximum(np.abs(u), np.abs(v)) - np.float32(0.85)
    return np.maximum(box, np.minimum(u, v) + np.float32(0.25))


def _tee(u: Field, v: Field) -> Field:
    bar = np.maximum(np.abs(u) - np.float32(0.95), np.abs(v - np.float32(0.6)) - np.float32(0.3))
    stem = np.maximum(np.abs(u) - np.float32(0.3), np.abs(v) - np.float32(0.9))
    return np.minimum(bar, stem)


SHAPES: dict[str, Callable[[Field, Field], Field]] = {
    "disc": _disc, "ring": _ring, "semicircle": _semicircle, "crescent": _crescent, "triangle": _triangle,
    "square": _square, "star": _star, "cross": _cross, "ell": _ell, "tee": _tee,
}  # fmt: skip
