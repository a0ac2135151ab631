"""What a sweep varies: axes over settings of a recipe, and the settings that are tried."""

import itertools
import math
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from airbench.errors import AirbenchError
from airbench.recipe.source import short_names, twice

Setting = dict[str, str]
"""A value, as on the command line, for the key of each axis."""

MAX_SETTINGS = 10_000
_RANGE = re.compile(r"(?P<low>[^:]+?)\.\.(?P<high>[^:]+?)(?P<log>:log)?(?P<whole>:int)?(?::(?P<points>\d+))?$")


@dataclass(frozen=True)
class Axis:
    """A setting that varies: over ``choices``, or from ``low`` to ``high``, linearly or by its logarithm."""

    key: str
    choices: tuple[str, ...] = ()
    low: float = math.nan
    high: float = math.nan
    log: bool = False
    points: int = 0
    """Values of a range in a grid."""
    whole: bool = False
    """Whether the values of a range are whole numbers."""
    origin: str = field(default="", compare=False)
    """File and line that it comes from, for messages; empty for one of the command line."""

    @property
    def said(self) -> str:
        """The axis as its origin has it, for messages."""
        return _said(self.key, "", self.origin)

    def grid(self) -> list[str]:
        """Return the values of a grid. Raises AirbenchError for a range without a number of points."""
        if self.choices:
            return list(self.choices)
        if self.points < 2:
            raise AirbenchError(f"{self.said}: a grid needs to know how many values: {self.low:g}..{self.high:g}:5")
        return list(dict.fromkeys(self.word(self._at(i / (self.points - 1))) for i in range(self.points)))

    def draw(self, generator: random.Random) -> str:
        """Draw a value at random."""
        if self.choices:
            return generator.choice(self.choices)
        return self.word(self._at(generator.random()))

    def word(self, value: float) -> str:
        """Return a value of the range as it is written in a setting."""
        return str(round(value)) if self.whole else digits(value)

    def around(self, centre: float, share: float, points: int) -> "Axis":
        """Return the range of ``share`` of this one's width, on its scale, with ``centre`` in its middle.

        A linear range does not leave this one, whose ends may be the bounds of the setting.
        """
        if self.log:
            reach = (self.high / self.low) ** (share / 2)
            return replace(
                self, low=max(centre / reach, 1.0 if self.whole else 0.0), high=centre * reach, points=points
            )
        half = share * (self.high - self.low) / 2
        middle = min(max(centre, self.low + half), self.high - half)
        return replace(self, low=middle - half, high=middle + half, points=points)

    def inside(self, bounds: "Axis") -> "Axis":
        """Return this range, on a logarithmic scale, moved into ``bounds``, of which it is no wider."""
        factor = min(1.0, bounds.high / self.high) * max(1.0, bounds.low / self.low)
        return replace(self, low=max(self.low * factor, bounds.low), high=min(self.high * factor, bounds.high))

    def __str__(self) -> str:
        """Return the axis as on the command line."""
        if self.choices:
            return f"{self.key}={','.join(self.choices)}"
        kind = ":log" * self.log + ":int" * self.whole + (f":{self.points}" if self.points else "")
        return f"{self.key}={self.low!r}..{self.high!r}{kind}"

    def _at(self, share: float) -> float:
        if self.log:
            return math.exp(math.log(self.low) * (1 - share) + math.log(self.high) * share)
        return self.low * (1 - share) + self.high * share


def ends(axis: Axis) -> list[Setting]:
    """Return settings with the choices of an axis, or with the ends of its range."""
    words = axis.choices or tuple(axis.word(value) for value in (axis.low, axis.high))
    return [{axis.key: word} for word in words]


def _said(key: str, values: str, origin: str) -> str:
    shown = values if len(values) <= 60 else values[:57] + "..."
    if origin:
        return f"{origin}: axes.{key}" + (f" = {shown}" if shown else "")
    return f"--axis {key}" + (f"={shown}" if shown else "")


def parse_axis(text: str, origin: str = "") -> Axis:
    """Parse ``KEY=a,b,c``, ``KEY=low..high``, ``KEY=low..high:log`` or ``KEY=low..high:log:points``; also ``:int``.

    Commas inside brackets belong to a value: ``net.widths=[32,64,64],[64,128,128]``. ``origin``: the file and line that
    it comes from, if not the command line. Raises AirbenchError.
    """
    key, equals, values = text.partition("=")
    said = _said(key, values, origin)
    if not equals or not key or not values:
        form = "a list of values or low..high" if origin else "KEY=a,b,c or KEY=low..high"
        raise AirbenchError(f"{said}: write {form}, with :log, :int and :points if you like")
    found = _RANGE.match(values)
    if found is None or ("/" in values and "," in values):  # relative paths have two dots, too
        choices = tuple(split_values(values))
        if len(set(choices)) < len(choices) or len(choices) < 2:
            raise AirbenchError(f"{said}: give two or more different values")
        return Axis(key, choices, origin=origin)
    try:
        low, high = float(found["low"]), float(found["high"])
    except ValueError:
        raise AirbenchError(f"{said}: the ends of a range are numbers, as in 0.1..0.4") from None
    if not low < high or not math.isfinite(high - low) or (found["log"] and low <= 0):
        raise AirbenchError(f"{said}: the range goes from low to high{', above 0' if found['log'] else ''}")
    if found["log"] and found["whole"] and round(low) < 1:
        raise AirbenchError(f"{said}: whole numbers on a logarithmic scale begin at 1")
    return Axis(key, (), low, high, bool(found["log"]), int(found["points"] or 0), bool(found["whole"]), origin)


def split_values(values: str) -> list[str]:
    """Split at the commas that are not inside brackets or braces."""
    parts, depth = [""], 0
    for character in values:
        depth += (character in "[{") - (character in "]}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def digits(value: float) -> str:
    """Return ``value`` with four significant digits: as many as a learning rate can be told by."""
    return f"{float(f'{value:.4g}'):g}"


def refuse_twice(axes: Sequence[Axis]) -> None:
    """Raise AirbenchError if two axes vary one setting."""
    repeated = twice([axis.key for axis in axes])
    if repeated is not None:
        raise AirbenchError(f"--axis: {repeated} is given twice")


def settings(axes: Sequence[Axis], count: int | None, seed: int) -> list[Setting]:
    """Return every combination of the axes' grids, or ``count`` settings drawn at random, no two alike.

    Raises AirbenchError for more than MAX_SETTINGS, and if there are not so many different ones.
    """
    refuse_twice(axes)
    keys = [axis.key for axis in axes]
    if count is None:
        grids = [axis.grid() for axis in axes]
        if math.prod(map(len, grids)) > MAX_SETTINGS:
            raise AirbenchError(
                f"{axes[0].said}: with the others a grid of {math.prod(map(len, grids)):,} settings, of at most "
                f"{MAX_SETTINGS:,}: draw some at random ({_at_random(axes, 'N')}), or give fewer points"
            )
        return [dict(zip(keys, values, strict=True)) for values in itertools.product(*grids)]
    generator, found = random.Random(seed), dict[tuple[str, ...], Setting]()
    for _ in range(100 * count):
        values = tuple(axis.draw(generator) for axis in axes)
        found.setdefault(values, dict(zip(keys, values, strict=True)))
        if len(found) == count:
            return list(found.values())
    words = _at_random(axes, str(count))
    raise AirbenchError(
        f"{words}: these axes have only {len(found)} different settings; leave it out for a grid of all"
    )


def _at_random(axes: Sequence[Axis], count: str) -> str:
    """Return how settings are drawn at random, where the axes are written."""
    file = next((axis.origin.rpartition(":")[0] for axis in axes if axis.origin), "")
    return f"{file}: method = random, settings = {count}" if file else f"--random {count}"


def overrides(setting: Setting) -> list[str]:
    """Return a setting as overrides of a recipe."""
    return [f"{key}={value}" for key, value in setting.items()]


def as_number(text: str) -> float | None:
    """Return the finite number that ``text`` writes; None for anything else."""
    try:
        found = float(text)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def label(setting: Setting) -> str:
    """Return a setting in short: ``lr=0.2 epochs=4``."""
    names = short_names(setting)
    return " ".join(f"{names[key]}={value}" for key, value in setting.items())
