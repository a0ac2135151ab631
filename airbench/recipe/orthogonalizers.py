"""Methods of orthogonalising an update."""

from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from airbench.recipe.config import Config, Finite, NonNegative, Positive
from airbench.recipe.registry import Component, Registry

Triple = tuple[Finite, Finite, Finite]
Kernel = Literal["auto", "torch", "triton"]
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


class OrthogonalizerConfig(Config):
    """Settings common to all orthogonalisation methods."""

    capturable: ClassVar[bool] = True
    """Whether a CUDA graph can capture it, that is, it never makes the host wait for the device."""

    method: str

    split: Annotated[int, Field(ge=1, le=65536)] = 1
    """Orthogonalise this many equal blocks of rows separately, for a matrix that holds several maps: 3 for the queries,
    keys and values of an attention, 3 · heads for those of each head. `adjust_lr` is then by the shape of a block."""

    def symmetric_kernel(self) -> Kernel:
        """Return what multiplies symmetric products; ``torch`` for a method that does not choose."""
        return "torch"


class NewtonSchulz(OrthogonalizerConfig):
    """Orthogonalise by iterating an odd polynomial of degree five (Jordan et al. 2024, Muon)."""

    method: Literal["newton_schulz"] = "newton_schulz"
    """This method."""

    steps: Annotated[int, Field(ge=0, le=100)] = 5
    """Number of iterations."""

    coefficients: Coefficients = (3.4445, -4.7750, 2.0315)
    """(a, b, c) of X ← a X + b (X Xᵀ) X + c (X Xᵀ)² X: one triple, or a list with one per step, the last of which
    is reused for any further steps. Or a name: `muon`; `hiverge`, (3.4576, -4.7391, 2.0843); `classical_quintic`,
    (15, -10, 3) / 8; `classical_cubic`, (3, -1, 0) / 2; `polar_express`, optimal at each step for singular values in
    0.001..1 (Amsel et al. 2025)."""

    normalize: Literal["frobenius", "gram", "aol"] = "frobenius"
    """How singular values are first scaled below 1. `frobenius`: divide by the Frobenius norm. `gram`: divide by the
    square root of ‖X Xᵀ‖ (Frobenius), which is closer to the largest singular value. `aol`: divide each row by the
    square root of the absolute row sum of X Xᵀ (Turbo-Muon, 2025), which changes the singular vectors slightly."""

    dtype: Precision = "auto"
    """Data type of the computation. `auto`: float32 if the net is float32, else bfloat16."""

    eps: Positive = 1e-7
    """Added to the Frobenius norm that the matrix is divided by first."""

    kernel: Kernel = "torch"
    """What multiplies the symmetric products X Xᵀ and b A + c A A on CUDA in half precision. `torch`: cuBLAS. `triton`:
    a kernel that computes half of the blocks and mirrors them. `auto`: whichever is faster for the shape, measured
    in the warm-up; each trial records the choice. Where there is no Triton, and on a CPU: `torch`."""

    def symmetric_kernel(self) -> Kernel:
        """Return the setting ``kernel``."""
        return self.kernel


class InverseSqrt(OrthogonalizerConfig):
    """Orthogonalise as X (XᵀX)^(-1/2), with the root from the coupled cubic Newton-Schulz iteration (Higham 2008)."""

    method: Literal["inverse_sqrt"] = "inverse_sqrt"
    """This method."""

    steps: Annotated[int, Field(ge=0, le=100)] = 15
    """Number of iterations. A singular value of s times the Frobenius norm needs about ln(1/s) / ln(1.5) + 3."""

    eps: NonNegative = 1e-6
    """Added to the diagonal of XᵀX after division by its trace, against rounding errors. Computed in float32."""


class SVD(OrthogonalizerConfig):
    """Orthogonalise exactly, by singular value decomposition."""

    capturable: ClassVar[bool] = False

    method: Literal["svd"] = "svd"
    """This method."""


class NoOrthogonalization(OrthogonalizerConfig):
    """Leave the update unchanged: Muon is then SGD with momentum on the flattened matrix."""

    method: Literal["none"] = "none"
    """This method."""


_ROOM = "airbench.optim.orthogonalize.build"

ORTHOGONALIZERS = Registry(
    "orthogonalizer",
    {
        "newton_schulz": Component(NewtonSchulz, f"{_ROOM}:build_newton_schulz"),
        "inverse_sqrt": Component(InverseSqrt, f"{_ROOM}:build_inverse_sqrt"),
        "svd": Component(SVD, f"{_ROOM}:build_svd"),
        "none": Component(NoOrthogonalization, f"{_ROOM}:build_none"),
    },
    key="method",
    default="newton_schulz",
)

Orthogonalizer = Annotated[OrthogonalizerConfig, ORTHOGONALIZERS]
