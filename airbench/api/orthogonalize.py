"""Orthogonal factors of matrices, by any of the methods that recipes can name."""

from typing import Any

from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from airbench.errors import RecipeError
from airbench.optim.blocks import blocks, joined
from airbench.optim.orthogonalize import build_orthogonalizer
from airbench.optim.orthogonalize.newton_schulz import check_matrices
from airbench.recipe.orthogonalizers import Orthogonalizer, OrthogonalizerConfig

_ADAPTER: TypeAdapter[OrthogonalizerConfig] = TypeAdapter(Orthogonalizer)


def orthogonalize(matrices: Tensor, method: str = "newton_schulz", **settings: Any) -> Tensor:
    """Return approximate orthogonal factors U Vᵀ of matrices U S Vᵀ ``(..., m, n)``, in the same shape.

    ``method``: ``newton_schulz``, ``inverse_sqrt``, ``svd`` or ``none``. ``settings`` are those of ``orthogonalize`` in
    a recipe: ``steps=3``, ``coefficients=(3.4445, -4.775, 2.0315)``, ``dtype="float32"`` (by default Newton-Schulz
    computes half-precision matrices in bfloat16, others in their own type), ``split=3`` (of three stacked matrices
    each). Raises RecipeError for others, and ValueError for anything but a batch of floating-point matrices.
    """
    check_matrices(matrices)
    try:
        config = _ADAPTER.validate_python({"method": method, **settings})
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "union_tag_invalid":
            raise RecipeError(
                f"orthogonalize: method = {method!r}: give one of {first['ctx']['expected_tags']}"
            ) from None
        key = ".".join(str(step) for step in first["loc"][1:])  # the first step is the method
        reason = first["msg"].removeprefix("Value error, ")
        raise RecipeError(f"orthogonalize: {key} = {first['input']!r}: {reason}") from None
    if not matrices.numel():
        return matrices.clone()
    if matrices.shape[-2] % config.split:
        raise RecipeError(f"orthogonalize: split = {config.split}: it must divide the {matrices.shape[-2]} rows")
    factors = build_orthogonalizer(config, matrices.dtype)(blocks(matrices, config.split))
    return joined(factors, config.split).to(matrices.dtype)
