"""Orthogonal factors of matrices, by any of the methods that recipes can name."""

from typing import Any

from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from airbench.errors import RecipeError
from airbench.optim.orthogonalize import build_orthogonalizer
from airbench.recipe.orthogonalizers import Orthogonalizer, OrthogonalizerConfig

_ADAPTER: TypeAdapter[OrthogonalizerConfig] = TypeAdapter(Orthogonalizer)


def orthogonalize(matrices: Tensor, method: str = "newton_schulz", **settings: Any) -> Tensor:
    """Return approximate orthogonal factors U Vᵀ of matrices U S Vᵀ ``(..., m, n)``, in the same shape.

    ``settings`` are those of ``orthogonalize`` in a recipe: ``steps=3``, ``coefficients=(3.4445, -4.775, 2.0315)``,
    ``dtype="float32"`` (Newton-Schulz computes in bfloat16 unless ``matrices`` are float32).
    Raises RecipeError for others.
    """
    try:
        config = _ADAPTER.validate_python({"method": method, **settings})
    except ValidationError as error:
        first = error.errors()[0]
        raise RecipeError(f"orthogonalize: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    return build_orthogonalizer(config, matrices.dtype)(matrices).to(matrices.dtype)
