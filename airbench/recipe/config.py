"""Base class of a recipe's sections, and bounds shared by several settings."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

LARGEST = 1_000_000_000
"""Bound of every number without a closer one: beyond it, floats or 64-bit counts overflow sooner or later."""

Positive = Annotated[float, Field(gt=0, le=LARGEST, allow_inf_nan=False)]
Epochs = Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)]
Finite = Annotated[float, Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, le=LARGEST, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=LARGEST)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class Config(BaseModel):
    """A section of a recipe. Unknown keys are errors; instances are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)
