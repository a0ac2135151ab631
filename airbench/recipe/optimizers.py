"""The optimizer of each parameter group, by name."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from airbench.recipe.config import Momentum, NonNegative, Positive
from airbench.recipe.groups import Group, MomentumGroup
from airbench.recipe.orthogonalizers import Kernel, NewtonSchulz, Orthogonalizer
from airbench.recipe.registry import Component, Registry


class SGD(MomentumGroup):
    """Stochastic gradient descent with momentum (torch.optim.SGD)."""

    name: Literal["sgd"] = "sgd"
    """This optimizer."""

    momentum: Momentum = 0.85
    """Fraction of the momentum buffer kept at each step: buffer ← momentum · buffer + gradient."""

    nesterov: bool = True
    """Update by gradient + momentum · buffer instead of by the buffer."""

    lr_unit: Literal["per_step", "per_1024_examples"] = "per_step"
    """`per_step`: as in torch.optim.SGD. `per_1024_examples`: decoupled from batch size and
    momentum (Jordan 2024, section 2): the optimizer is given lr / (1024 · (1 + 1 / (1 - momentum)))."""

    lr_scale: Positive = 1.0
    """Factor on the learning rate, for a group that needs more or less than the others."""

    weight_decay: NonNegative = 0.0
    """Weight decay, in `weight_decay_unit`."""

    weight_decay_unit: Literal["coupled", "per_example", "per_1024_examples"] = "coupled"
    """`coupled`: added to the gradient as weight_decay · weight, as in torch.optim.SGD.
    `per_example`: 1 - momentum times the fraction of itself that a weight loses per training example while the
    schedule's factor is 1, regardless of lr. `per_1024_examples`: the same divided by
    1024 · (1 + 1 / (1 - momentum))."""


class _AdamGroup(Group):
    betas: tuple[Momentum, Momentum] = (0.9, 0.95)
    """Decay rates of the running averages of the gradient and of its square."""

    eps: Positive = 1e-8
    """Added to the square root of the average squared gradient."""

    adjust_lr: Literal["none", "fan_in"] = "none"
    """Factor on lr. `fan_in`: one over the inputs of a neuron, in · h · w of a filter bank, so that the best lr does
    not depend on the net's width (muP: Yang et al. 2022, table 8); vectors keep lr. Weight decay, which lr multiplies
    too, becomes smaller alike."""

    master_weights: bool = True
    """If the net is in half precision, update a float32 copy of its weights, with float32 optimizer state: in
    bfloat16, the average squared gradient with a beta of 0.999 never changes."""


class Adam(_AdamGroup):
    """Adam (Kingma & Ba 2015; torch.optim.Adam). Its weight decay is coupled: it is part of the gradient."""

    name: Literal["adam"] = "adam"
    """This optimizer."""

    weight_decay: NonNegative = 0.0
    """Added to the gradient as weight_decay · weight, and so also divided by the root of the average square."""


class AdamW(_AdamGroup):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019; torch.optim.AdamW)."""

    name: Literal["adamw"] = "adamw"
    """This optimizer."""

    weight_decay: NonNegative = 0.01
    """A step multiplies the weights by 1 - lr · weight_decay."""

    def decay_share(self) -> float:
        """Return lr · weight_decay."""
        return self.lr * self.weight_decay


class NormalizedMomentum(MomentumGroup):
    """Momentum divided by its own root mean square, tensor by tensor: for biases and other vectors."""

    name: Literal["normalized_momentum"] = "normalized_momentum"
    """This optimizer."""

    momentum: Momentum = 0.9
    """Fraction of the momentum buffer kept per step: buffer ← momentum · buffer + (1 - momentum) · gradient."""

    eps: Positive = 1e-8
    """Added to the root mean square."""

    weight_decay: NonNegative = 0.0
    """Decoupled: a step multiplies the weights by 1 - lr · weight_decay."""

    master_weights: bool = True
    """If the net is in half precision, update a float32 copy of its weights, with float32 optimizer state."""

    def decay_share(self) -> float:
        """Return lr · weight_decay."""
        return self.lr * self.weight_decay

    def not_capturable(self) -> str | None:
        """Return this optimizer's name: it uses learning rates on the host."""
        return self.name


class _OrthogonalizingGroup(MomentumGroup):
    """A group with a setting ``orthogonalize``, which each optimizer declares in its own place."""

    if TYPE_CHECKING:
        orthogonalize: Orthogonalizer = NewtonSchulz()

    def not_capturable(self) -> str | None:
        """Return the orthogonalisation method, if it makes the host wait."""
        return None if self.orthogonalize.capturable else f"orthogonalize.method = {self.orthogonalize.method}"

    def symmetric_kernel(self) -> Kernel:
        """Return what multiplies the symmetric products of orthogonalisation."""
        return self.orthogonalize.symmetric_kernel()


class Muon(_OrthogonalizingGroup):
    """Orthogonalised momentum, for convolution filters and matrices (Jordan et al. 2024)."""

    min_dims: ClassVar[int] = 2

    name: Literal["muon"] = "muon"
    """This optimizer."""

    momentum: Momentum = 0.95
    """Fraction of the momentum buffer kept at each step."""

    momentum_convention: Literal["sum", "lerp"] = "sum"
    """`sum`: buffer ← momentum · buffer + gradient. `lerp`: buffer ← momentum · buffer + (1 - momentum) ·
    gradient, as in torch.optim.Muon. Orthogonalised updates are the same with either."""

    nesterov: bool = True
    """Orthogonalise gradient + momentum · buffer instead of the buffer (with `lerp`: (1 - momentum) · gradient +
    momentum · buffer)."""

    flatten: Literal["out", "in", "position", "operator"] = "out"
    """How a filter bank (out, in, h, w) becomes a matrix. `out`: out × (in · h · w). `in`: in × (out · h · w).
    `position`: a matrix out × in for each of the h · w positions. `operator`: a complex matrix out × in for each
    frequency of periodic images, which orthogonalises the convolution as a linear map on images."""

    operator_side: Annotated[int, Field(ge=1, le=64)] = 8
    """Side of the images on which `flatten: operator` takes a convolution: (n² + 4) / 2 matrices for an even side n."""

    adjust_lr: Literal["none", "original", "match_rms_adamw", "spectral"] = "none"
    """Factor on lr, from the matrix's shape m × n (`flatten: operator`: out × in). `original`: √max(1, m/n).
    `match_rms_adamw`: 0.2 · √max(m, n). `spectral`: √(m/n)."""

    max_update_norm: Positive | None = None
    """Clip the Frobenius norm of a parameter's update to this, before lr is applied. Unset: do not clip."""

    weight_decay: NonNegative = 0.0
    """Decoupled, as in AdamW: a step multiplies the weights by 1 - lr · weight_decay. Where the weights are in half
    precision, too small a share changes none: below 2⁻⁹ in bfloat16, 2⁻¹² in float16. `master_weights: true` keeps it;
    a run says where it is lost."""

    cautious_weight_decay: bool = False
    """Decay only those weights that the update does not move away from zero (Chen et al. 2025). Needs a
    `weight_decay`."""

    orthogonalize: Orthogonalizer = NewtonSchulz()
    """Method of orthogonalisation."""

    batching: Literal["auto", "same_shape", "padded"] = "auto"
    """`same_shape`: orthogonalise matrices of the same shape in one call. `padded`: all matrices in one call, padded
    with zeros to one shape; fewer kernels, more arithmetic, the same result. `auto`: `padded` on CUDA, else
    `same_shape`."""

    @field_validator("cautious_weight_decay")
    @classmethod
    def _has_what_to_be_cautious_of(cls, value: bool, others: ValidationInfo) -> bool:
        if value and others.data.get("weight_decay") == 0:
            raise ValueError("weight_decay of the same group is 0, so that nothing is decayed; give it, or remove this")
        return value

    def decay_share(self) -> float:
        """Return lr · weight_decay."""
        return self.lr * self.weight_decay


class NorMuon(Muon):
    """Muon whose updates are normalised neuron by neuron (Li et al. 2025)."""

    name: Literal["normuon"] = "normuon"  # type: ignore[assignment]
    """This optimizer."""

    adjust_lr: Literal["none", "original", "match_rms_adamw", "spectral"] = "match_rms_adamw"
    """Factor on lr, from the matrix's shape m × n (`flatten: operator`: out × in). `original`: √max(1, m/n).
    `match_rms_adamw`: 0.2 · √max(m, n). `spectral`: √(m/n)."""

    neuron_beta: Momentum = 0.95
    """Decay rate of the average of each row's squared update, by whose root the row is divided; then the matrix is
    scaled back to the norm that it had. The paper scales it so that a step has the norm 0.2 · lr · √(m · n): that of
    `adjust_lr: match_rms_adamw` where the singular values were 1, from which Newton-Schulz differs by some percent."""


class Scion(_OrthogonalizingGroup):
    """Steps of a fixed size in a norm that suits the layer (Pethick et al. 2025, arXiv 2502.07529)."""

    name: Literal["scion"] = "scion"
    """This optimizer."""

    momentum: Momentum = 0.9
    """Fraction of the momentum buffer kept per step: buffer ← momentum · buffer + (1 - momentum) · gradient. The
    paper's α is 1 - momentum."""

    norm: Literal["auto", "spectral", "sign", "rms"] = "auto"
    """The step D from a buffer B. `spectral`: √(out/in) / (h · w) · U Vᵀ of B = U S Vᵀ, as out × (in · h · w).
    `sign`: sign(B) / inputs. `rms`: B divided by its root mean square. `auto`: `spectral` for parameters of two or
    more dimensions, else `rms`."""

    radius: Positive = 1.0
    """Factor on the step."""

    constrained: bool = True
    """p ← (1 - lr) · p - lr · radius · D, which keeps p in the norm's ball of this radius once it is there. `false`:
    p ← p - lr · radius · D. Where the weights are in half precision, too small an lr shrinks none: below 2⁻⁹ in
    bfloat16, 2⁻¹² in float16. `master_weights: true` keeps it; a run says where it is lost."""

    orthogonalize: Orthogonalizer = NewtonSchulz()
    """Method of orthogonalisation for `spectral`."""

    def decay_share(self) -> float:
        """Return lr, where the norm is a constraint."""
        return self.lr if self.constrained else 0.0


class Dion(MomentumGroup):
    """Orthogonalised momentum of low rank, with error feedback (Ahn et al. 2025, arXiv 2504.05295)."""

    min_dims: ClassVar[int] = 2

    name: Literal["dion"] = "dion"
    """This optimizer."""

    momentum: Momentum = 0.95
    """Fraction kept of the part of the momentum that a step has used. The other part is kept whole."""

    rank_fraction: Annotated[float, Field(gt=0, le=1)] = 0.25
    """Rank of an update, as a fraction of the smaller side of the flattened matrix; rounded up."""

    weight_decay: NonNegative = 0.0
    """Decoupled, as in AdamW: a step multiplies the weights by 1 - lr · weight_decay. Where the weights are in half
    precision, too small a share changes none: below 2⁻⁹ in bfloat16, 2⁻¹² in float16. `master_weights: true` keeps it;
    a run says where it is lost."""

    def decay_share(self) -> float:
        """Return lr · weight_decay."""
        return self.lr * self.weight_decay


OPTIMIZERS = Registry(
    "optimizer",
    {
        "sgd": Component(SGD, "airbench.optim.sgd:build_sgd"),
        "adam": Component(Adam, "airbench.optim.adam:build_adam"),
        "adamw": Component(AdamW, "airbench.optim.adam:build_adamw"),
        "normalized_momentum": Component(NormalizedMomentum, "airbench.optim.normalized_momentum:build"),
        "muon": Component(Muon, "airbench.optim.muon:build_muon"),
        "normuon": Component(NorMuon, "airbench.optim.muon:build_normuon"),
        "scion": Component(Scion, "airbench.optim.scion:build"),
        "dion": Component(Dion, "airbench.optim.dion:build"),
    },
)

OptimizerGroup = Annotated[Group, OPTIMIZERS]
