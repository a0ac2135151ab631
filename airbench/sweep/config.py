"""A sweep as a YAML file: the recipe, what varies, how settings are chosen, and how many trials each gets."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr, ValidationError, model_validator

from airbench.errors import AirbenchError
from airbench.recipe.config import Config, Count, Seed
from airbench.recipe.explain import validate
from airbench.recipe.shipped import find_shipped_sweep
from airbench.recipe.source import COMMAND_LINE, Node, as_word, parse_override, read_yaml
from airbench.sweep.axes import Axis, parse_axis

Method = Literal["grid", "random", "tpe"]


class Telescope(Config):
    """Search on small nets first, then near the optimum on larger ones (Shah et al. 2025, arXiv 2505.02222)."""

    key: str
    """The setting that grows, such as `net.widths`."""

    values: Annotated[list[Any], Field(min_length=2)]
    """Its values, from the cheapest to the target."""

    points: Annotated[list[Annotated[int, Field(ge=2)]], Field(min_length=1)] = [5]  # noqa: RUF012
    """Values of each axis in the grid of each level; the last one also holds for all levels after it."""

    shrink: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Width of each level's range, centred at the best setting of the level before, as a share of that level's."""


class SweepConfig(Config):
    """A sweep: a recipe, axes over its settings, and the way they are searched."""

    description: str = ""
    """What the sweep is for."""

    recipe: str
    """File or name of the recipe."""

    overrides: list[Annotated[str, Field(pattern="=")]] = []  # noqa: RUF012
    """Changes to the recipe, as on the command line: `net.widths=[32,128,128]`."""

    axes: Annotated[dict[str, Any], Field(min_length=1)]
    """What varies: for each key of the recipe a list of values, or a range as on the command line: `0.1..0.4:log:5`."""

    method: Method = "grid"
    """`grid`: every combination. `random`: settings drawn at random. `tpe`: chosen by Optuna's tree-structured Parzen
    estimator, which learns from the settings before."""

    settings: Count | None = None
    """Number of settings of `random` and `tpe`."""

    prune: bool = True
    """With `tpe`: stop a trial whose accuracy after an epoch is below the median of those before it."""

    trials: Count = 1
    """Trials per setting."""

    seed: Seed = 0
    """Trial i of each setting has this seed + i."""

    top: Count = 2
    """How many of the best settings are trained again, with fresh seeds."""

    again: Annotated[int, Field(ge=0)] = 3
    """Their number of fresh trials; 0: none."""

    held_out: Count | None = None
    """Training images to judge on. Unset: a tenth of them."""

    on_test: bool = False
    """Judge on the test images; recorded, and no claim can follow."""

    telescope: Telescope | None = None
    """Search level by level, from small nets to large ones."""

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def origins(self) -> dict[str, str]:
        """File and line of each axis, by key, and override, by its text; without those of the command line."""
        return self._origins

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.method != "grid" and self.settings is None:
            raise ValueError(f"method = {self.method} needs the number of settings: settings = 12")
        if self.method == "grid" and self.settings is not None:
            raise ValueError("settings belongs to method = random or tpe; a grid has as many as its axes span")
        if self.on_test and self.held_out is not None:
            raise ValueError("on_test judges on the test images and held_out does not; give one of them")
        if self.telescope is not None and self.method != "grid":
            raise ValueError("telescope searches a grid at each level; leave method out")
        return self

    def axis_words(self) -> list[str]:
        """Return the axes as on the command line: ``KEY=VALUES``."""
        return [f"{key}={_word(values)}" for key, values in self.axes.items()]

    def parsed_axes(self) -> list[Axis]:
        """Return the axes. Raises AirbenchError, naming where one is written."""
        return [parse_axis(w, self._origins.get(key, "")) for key, w in zip(self.axes, self.axis_words(), strict=True)]

    def parsed_overrides(self) -> list[Node]:
        """Return the overrides. Raises AirbenchError, naming where one is written."""
        return [parse_override(text, self._origins.get(text, COMMAND_LINE)) for text in self.overrides]


def _word(values: Any) -> str:
    """Return the values of an axis, or one of them, as it is written on the command line."""
    if isinstance(values, list):
        return ",".join(as_word(value) for value in values)
    return str(values)


def changed(config: SweepConfig, changes: dict[str, Any]) -> SweepConfig:
    """Return ``config`` with other values for some settings. Raises AirbenchError if they do not fit together."""
    try:
        new = SweepConfig.model_validate({**config.model_dump(), **changes})
        new._origins = {key: place for key, place in config.origins.items() if "axes" not in changes or "=" in key}
        return new
    except ValidationError as failure:
        raise AirbenchError(str(failure.errors()[0]["msg"]).removeprefix("Value error, ")) from None


def is_sweep(path: str) -> bool:
    """Return whether ``path`` is a sweep's file, or the name of a shipped sweep, rather than a recipe."""
    file = _locate(path)
    if not file.is_file():
        return False
    content = read_yaml(file).value
    return isinstance(content, dict) and bool({"axes", "recipe"} & set(content))


def load_sweep(path: str) -> SweepConfig:
    """Read a sweep's file, whose recipe may be beside it. Raises RecipeError in one line."""
    file = _locate(path)
    node = read_yaml(file)
    config = validate(SweepConfig, node, file)
    config._origins = {key: node.find(("axes", key)).place for key in config.axes}
    config._origins |= {text: node.find(("overrides", i)).place for i, text in enumerate(config.overrides)}
    beside = file.parent / Path(config.recipe).expanduser()
    return config.model_copy(update={"recipe": str(beside)}) if beside.is_file() else config


def _locate(path: str) -> Path:
    file = Path(path)
    return file if file.is_file() else find_shipped_sweep(path) or file
