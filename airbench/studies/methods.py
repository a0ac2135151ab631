"""Ways to orthogonalise, written in one word: ``newton_schulz:5:polar_express:aol``."""

from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import torch
from pydantic import TypeAdapter, ValidationError

from airbench.errors import AirbenchError
from airbench.optim.orthogonalize import Orthogonalizer, build_orthogonalizer
from airbench.optim.orthogonalize.coefficients import response, triples
from airbench.recipe import orthogonalizers as schema

_METHODS = ("newton_schulz", "inverse_sqrt", "svd", "none")
_WORDS = {
    **dict.fromkeys(get_args(schema.CoefficientSet), "coefficients"),
    **dict.fromkeys(("frobenius", "gram", "aol"), "normalize"),
    **dict.fromkeys(("float32", "bfloat16", "float16"), "dtype"),
}


@dataclass(frozen=True)
class Method:
    """A way to orthogonalise and what it was called."""

    name: str
    knobs: schema.NewtonSchulz | schema.InverseSqrt | schema.SVD | schema.NoOrthogonalization

    def build(self) -> Orthogonalizer:
        """The function, in bfloat16 where the method leaves it open."""
        return build_orthogonalizer(self.knobs, torch.bfloat16)

    def response(self, shares: npt.NDArray[np.float64]) -> npt.NDArray[np.float64] | None:
        """What becomes of singular values that are these shares of the Frobenius norm, without rounding.

        None where that does not depend on the share alone.
        """
        if isinstance(self.knobs, schema.NewtonSchulz):
            if self.knobs.normalize != "frobenius":
                return None
            return response(shares, triples(self.knobs.coefficients, self.knobs.steps))
        if isinstance(self.knobs, schema.InverseSqrt):
            y, z = shares**2 + self.knobs.eps, np.ones_like(shares)
            for _ in range(self.knobs.steps):
                t = 1.5 - 0.5 * z * y
                y, z = y * t, t * z
            return np.asarray(shares * z)
        return np.ones_like(shares) if isinstance(self.knobs, schema.SVD) else None


def parse_method(text: str) -> Method:
    """``METHOD[:STEPS][:COEFFICIENTS][:NORMALIZATION][:DTYPE]``, the parts after the method in any order.

    Raises AirbenchError, in one line, for what is none.
    """
    method, *words = text.split(":")
    if method not in _METHODS:
        raise AirbenchError(f"--methods: {text}: {method} is no method; there are {', '.join(_METHODS)}")
    knobs: dict[str, Any] = {"method": method}
    for word in words:
        key = "steps" if word.isascii() and word.isdecimal() else _WORDS.get(word)
        if key is None:
            raise AirbenchError(
                f"--methods: {text}: {word} is neither a number of steps nor one of {', '.join(_WORDS)}"
            )
        if key in knobs:
            raise AirbenchError(f"--methods: {text}: {key} is given twice")
        knobs[key] = int(word) if key == "steps" else word
    try:
        return Method(text, TypeAdapter(schema.Orthogonalizer).validate_python(knobs))
    except ValidationError as failure:
        first = failure.errors()[0]
        raise AirbenchError(f"--methods: {text}: {first['loc'][-1]}: {first['msg'].lower()}") from None
