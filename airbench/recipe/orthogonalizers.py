"""The schema of the ways to orthogonalise an update."""

from typing import Annotated, Any, Literal, get_args

from pydantic import Discriminator, Field, Tag, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from airbench.recipe.knobs import Finite, Knobs, NonNegative, Positive

Triple = tuple[Finite, Finite, Finite]
Precision = Literal["auto", "float32", "bfloat16", "float16"]
CoefficientSet = Literal["muon", "hiverge", "classical_quintic", "classical_cubic", "polar_express"]


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _in_one_message(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    try:
        return handler(_tuples(value))
    except ValidationError:
        names = ", ".join(get_args(CoefficientSet))
        raise ValueError(f"give three numbers [a, b, c], a list of such triples, or one of {names}") from None


Coefficients = Annotated[
    CoefficientSet | Triple | Annotated[tuple[Triple, ...], Field(min_length=1)], WrapValidator(_in_one_message)
]


class NewtonSchulz(Knobs):
    """Orthogonalise by an odd polynomial of degree five, a few times over (Jordan et al. 2024, Muon)."""

    method: Literal["newton_schulz"] = "newton_schulz"
    """This method."""

    steps: Annotated[int, Field(ge=0, le=100)] = 3
    """Iterations."""

    coefficients: Coefficients = (3.4445, -4.7750, 2.0315)
    """(a, b, c) of X ← a X + b (X Xᵀ) X + c (X Xᵀ)² X: one triple, or a list with one a step whose last serves
    all later steps. Or a name: `muon`; `hiverge`, (3.4576, -4.7391, 2.0843); `classical_quintic`, (15, -10, 3) / 8;
    `classical_cubic`, (3, -1, 0) / 2; `polar_express`, the best a step for singular values in 0.001..1
    (Amsel et al. 2025)."""

    normalize: Literal["frobenius", "gram", "aol"] = "frobenius"
    """How singular values are first brought below 1. `frobenius`: divide by the Frobenius norm. `gram`: by the
    square root of ‖X Xᵀ‖ (Frobenius), which is closer to the largest. `aol`: scale each row by one over the
    square root of the absolute row sum of X Xᵀ (Turbo-Muon, 2025); singular vectors move a little."""

    dtype: Precision = "auto"
    """What it is computed in. `auto`: bfloat16, or float32 where the net itself is float32."""

    eps: Positive = 1e-7
    """Added to the Frobenius norm that the matrix is divided by first."""


class InverseSqrt(Knobs):
    """Orthogonalise as X (XᵀX)^(-1/2), the root by the coupled cubic Newton-Schulz iteration (Higham 2008)."""

    method: Literal["inverse_sqrt"]
    """This method."""

    steps: Annotated[int, Field(ge=0, le=100)] = 15
    """Iterations. A singular value of share s of the Frobenius norm takes about ln(1/s) / ln(1.5) + 3."""

    eps: NonNegative = 1e-6
    """Added to the diagonal of XᵀX, after it is divided by its trace, against rounding. Computed in float32."""


class SVD(Knobs):
    """Orthogonalise exactly, by the singular value decomposition."""

    method: Literal["svd"]
    """This method."""


class NoOrthogonalization(Knobs):
    """Leave the update as it is: Muon is then SGD with momentum on the flattened matrix."""

    method: Literal["none"]
    """This method."""


def _method(value: Any) -> str:
    """newton_schulz where no method is named."""
    if isinstance(value, dict):
        return str(value.get("method", "newton_schulz"))
    return str(getattr(value, "method", "newton_schulz"))


Orthogonalizer = Annotated[
    Annotated[NewtonSchulz, Tag("newton_schulz")]
    | Annotated[InverseSqrt, Tag("inverse_sqrt")]
    | Annotated[SVD, Tag("svd")]
    | Annotated[NoOrthogonalization, Tag("none")],
    Discriminator(_method),
]
