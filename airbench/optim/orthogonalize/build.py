"""From the knobs of a recipe to a function."""

from functools import partial

import torch
from torch import Tensor

from airbench.optim.orthogonalize.batching import Orthogonalizer
from airbench.optim.orthogonalize.inverse_sqrt import inverse_sqrt
from airbench.optim.orthogonalize.newton_schulz import newton_schulz
from airbench.optim.orthogonalize.svd import svd
from airbench.recipe import orthogonalizers as schema

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def build_orthogonalizer(knobs: schema.Orthogonalizer, of: torch.dtype) -> Orthogonalizer:
    """The function that ``knobs`` describe, for a net whose weights are of type ``of``."""
    if isinstance(knobs, schema.SVD):
        return svd
    if isinstance(knobs, schema.NoOrthogonalization):
        return unchanged
    if isinstance(knobs, schema.InverseSqrt):
        return partial(inverse_sqrt, steps=knobs.steps, eps=knobs.eps)
    auto = torch.float32 if of == torch.float32 else torch.bfloat16
    dtype = _DTYPES.get(knobs.dtype, auto)
    return partial(
        newton_schulz, steps=knobs.steps, coefficients=knobs.coefficients, normalize=knobs.normalize,
        dtype=dtype, eps=knobs.eps,
    )  # fmt: skip


def unchanged(matrices: Tensor) -> Tensor:
    """``matrices`` as they are: Muon without orthogonalisation."""
    return matrices
