"""Orthogonalisation methods, written as one word: ``newton_schulz:5:polar_express:aol``."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError

from airbench.errors import AirbenchError
from airbench.optim.orthogonalize import Orthogonalizer, build_orthogonalizer
from airbench.optim.orthogonalize.coefficients import Values, response, triples
from airbench.recipe import orthogonalizers as schema

_WORDS = {
    **dict.fromkeys(get_args(schema.CoefficientSet), "coefficients"),
    **dict.fromkeys(("frobenius", "gram", "aol"), "normalize"),
    **dict.fromkeys(("float32", "bfloat16", "float16"), "dtype"),
}


@dataclass(frozen=True)
class Method:
    """An orthogonalisation method, and the word that names it."""

    name: str
    config: schema.OrthogonalizerConfig

    def build(self, weights: torch.dtype = torch.bfloat16) -> Orthogonalizer:
        """Build the function as for a net with ``weights`` of this type; its own type can be part of the method."""
        return build_orthogonalizer(self.config, weights)

    def response(self, shares: Values) -> Values | None:
        """Map singular values, given as fractions of the Frobenius norm, to those of the result, without rounding.

        None if the result does not depend on the fraction alone.
        """
        compute = _RESPONSES.get(self.config.method)
        return compute(shares, self.config) if compute else None


def _newton_schulz(shares: Values, config: schema.NewtonSchulz) -> Values | None:
    if config.normalize != "frobenius":
        return None
    return response(shares, triples(config.coefficients, config.steps))


def _inverse_sqrt(shares: Values, config: schema.InverseSqrt) -> Values:
    y, z = shares**2 + config.eps, np.ones_like(shares)
    for _ in range(config.steps):
        t = 1.5 - 0.5 * z * y
        y, z = y * t, t * z
    return np.asarray(shares * z)


_RESPONSES: dict[str, Callable[[Values, Any], Values | None]] = {
    "newton_schulz": _newton_schulz,
    "inverse_sqrt": _inverse_sqrt,
    "svd": lambda shares, config: np.ones_like(shares),
}


def parse_method(text: str) -> Method:
    """Parse ``METHOD[:STEPS][:COEFFICIENTS][:NORMALIZATION][:DTYPE]``; the parts after the method in any order.

    Raises AirbenchError if ``text`` names no method.
    """
    method, *words = text.split(":")
    if method not in schema.ORTHOGONALIZERS:
        raise AirbenchError(
            f"--methods: {text}: unknown method {method}; choose from {', '.join(schema.ORTHOGONALIZERS)}"
        )
    settings: dict[str, Any] = {"method": method}
    for word in words:
        key = "steps" if word.isascii() and word.isdecimal() else _WORDS.get(word)
        if key is None:
            raise AirbenchError(
                f"--methods: {text}: {word} is neither a number of steps nor one of {', '.join(_WORDS)}"
            )
        if key in settings:
            raise AirbenchError(f"--methods: {text}: {key} is given twice")
        settings[key] = int(word) if key == "steps" else word
    try:
        return Method(text, TypeAdapter(schema.Orthogonalizer).validate_python(settings))
    except ValidationError as failure:
        first = failure.errors()[0]
        raise AirbenchError(f"--methods: {text}: {first['loc'][-1]}: {first['msg'].lower()}") from None
