"""Factories of the orthogonalisation methods."""

from functools import partial

import torch
from torch import Tensor

from airbench.optim.orthogonalize.batching import Orthogonalizer
from airbench.optim.orthogonalize.inverse_sqrt import inverse_sqrt
from airbench.optim.orthogonalize.newton_schulz import default_dtype, newton_schulz
from airbench.optim.orthogonalize.svd import svd
from airbench.recipe import orthogonalizers as schema

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def build_orthogonalizer(config: schema.OrthogonalizerConfig, weight_dtype: torch.dtype) -> Orthogonalizer:
    """Build the function that ``config`` describes, for a net whose weights have type ``weight_dtype``."""
    function: Orthogonalizer = schema.ORTHOGONALIZERS.build(config, weight_dtype)
    return function


def build_newton_schulz(config: schema.NewtonSchulz, weight_dtype: torch.dtype) -> Orthogonalizer:
    """Build :func:`newton_schulz`; ``auto`` computes in bfloat16 if the net is in half precision, else in its type."""
    return partial(
        newton_schulz,
        steps=config.steps,
        coefficients=config.coefficients,
        normalize=config.normalize,
        dtype=_DTYPES.get(config.dtype, default_dtype(weight_dtype)),
        eps=config.eps,
        kernel=config.kernel,
    )


def build_inverse_sqrt(config: schema.InverseSqrt, weight_dtype: torch.dtype) -> Orthogonalizer:
    """Build :func:`inverse_sqrt`, which computes in float32 or better."""
    return partial(inverse_sqrt, steps=config.steps, eps=config.eps)


def build_svd(config: schema.SVD, weight_dtype: torch.dtype) -> Orthogonalizer:
    """Return :func:`svd`."""
    return svd


def build_none(config: schema.NoOrthogonalization, weight_dtype: torch.dtype) -> Orthogonalizer:
    """Return the identity: Muon without orthogonalisation."""
    return unchanged


def pads(orthogonalize: Orthogonalizer, padded: bool | None) -> bool | None:
    """Return ``padded``, or where that is None, False for any method that is not ours.

    Ours commute with transposing and with rows and columns of zeros; of another function that is not known.
    """
    if padded is None and not ignores_scale(orthogonalize) and orthogonalize is not unchanged:
        return False
    return padded


def ignores_scale(orthogonalize: Orthogonalizer) -> bool:
    """Return whether a multiple of a matrix has the same factor, as it does for every method of ours but ``none``."""
    return getattr(orthogonalize, "func", orthogonalize) in (newton_schulz, inverse_sqrt, svd)


def unchanged(matrices: Tensor) -> Tensor:
    """Return ``matrices`` unchanged."""
    return matrices
