"""What trains the parameters: groups of them, the optimizer of each, lookahead."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from airbench.recipe.config import Config, Fraction, Momentum, NonNegative, Positive
from airbench.recipe.orthogonalizers import NewtonSchulz, Orthogonalizer
from airbench.recipe.registry import Component, Registry
from airbench.recipe.schedules import Linear, Schedule


class Rescale(Config):
    """Rescale each parameter of a group to a fixed norm before the update (Jordan 2024, airbench94_muon)."""

    every: Annotated[int, Field(ge=1)] = 1
    """Steps from one rescaling to the next."""

    growth: NonNegative = 0.0
    """Rescale ever more rarely: every `every` + ⌊growth · t / T⌋ steps at step t of T."""

    norm: Positive = 1.0
    """Frobenius norm that a parameter is rescaled to, in units of the square root of its first dimension (a filter
    bank's output channels)."""

    def acts(self, step: int, total: int) -> bool:
        """Return whether parameters are rescaled at ``step`` (from 0) of ``total``."""
        return step % (self.every + int(self.growth * step / total)) == 0


class Group(Config):
    """A group of parameters and what trains it: settings that do not depend on the optimizer."""

    min_dims: ClassVar[int] = 0
    """Dimensions that a parameter needs for this optimizer to train it."""

    name: str

    params: str | Annotated[tuple[str, ...], Field(min_length=1)]
    """Pattern, or patterns, over parameter names (`*` matches anything). A parameter goes to the first
    group that matches it; every run prints and stores who went where."""

    lr: Positive
    """Learning rate, for a loss that is summed over the batch. Its unit is `lr_unit`, where there is one."""

    train_epochs: Positive | None = None
    """Freeze the group's parameters after so many epochs. Unset: they train to the end."""

    schedule: Schedule = Linear()
    """How the learning rate moves during the run, as a factor on `lr`."""

    rescale: Rescale | None = None
    """Rescale the parameters to a fixed norm before each update. Unset: never."""

    master_weights: bool = False
    """Keep weights and optimizer state in float32 as well and step those, where the net is in half precision."""

    def not_capturable(self) -> str | None:
        """Return what keeps a CUDA graph from capturing the update: it makes the host wait. None if nothing does."""
        return None


class SGD(Group):
    """Stochastic gradient descent with momentum (torch.optim.SGD)."""

    name: Literal["sgd"] = "sgd"
    """This optimizer."""

    momentum: Momentum = 0.85
    """Share of the momentum buffer that a step keeps: buffer ← momentum · buffer + gradient."""

    nesterov: bool = True
    """Step along gradient + momentum · buffer instead of along the buffer."""

    lr_unit: Literal["per_step", "per_1024_examples"] = "per_step"
    """`per_step`: as torch.optim.SGD takes it. `per_1024_examples`: decoupled from batch size and
    momentum (Jordan 2024, section 2): the optimizer gets lr / (1024 · (1 + 1 / (1 - momentum)))."""

    lr_scale: Positive = 1.0
    """Factor on the learning rate, for a group that needs more or less than the others."""

    weight_decay: NonNegative = 0.0
    """How fast weights shrink. Its unit is `weight_decay_unit`."""

    weight_decay_unit: Literal["coupled", "per_example", "per_1024_examples"] = "coupled"
    """`coupled`: added to the gradient as weight_decay · weight, as torch.optim.SGD takes it.
    `per_example`: the share of itself that a weight loses per training example while the schedule's factor is
    1, whatever the lr. `per_1024_examples`: the same divided by 1024 · (1 + 1 / (1 - momentum))."""


class _AdamGroup(Group):
    betas: tuple[Momentum, Momentum] = (0.9, 0.95)
    """Shares that a step keeps of the averages of the gradient and of its square."""

    eps: Positive = 1e-8
    """Added to the root of the average square."""

    master_weights: bool = True
    """Keep weights and optimizer state in float32 as well and step those, where the net is in half precision:
    in bfloat16 an average square with a beta of 0.999 never moves."""


class Adam(_AdamGroup):
    """Adam (Kingma & Ba 2015; torch.optim.Adam). Its weight decay is coupled: a part of the gradient."""

    name: Literal["adam"] = "adam"
    """This optimizer."""

    weight_decay: NonNegative = 0.0
    """Added to the gradient as weight_decay · weight, and so divided by the root of the average square, too."""


class AdamW(_AdamGroup):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019; torch.optim.AdamW)."""

    name: Literal["adamw"] = "adamw"
    """This optimizer."""

    weight_decay: NonNegative = 0.01
    """A step multiplies the weights by 1 - lr · weight_decay."""


class NormalizedMomentum(Group):
    """Momentum divided by its own root mean square, tensor by tensor: for biases and other vectors."""

    name: Literal["normalized_momentum"] = "normalized_momentum"
    """This optimizer."""

    momentum: Momentum = 0.9
    """Share of the momentum buffer that a step keeps: buffer ← momentum · buffer + (1 - momentum) · gradient."""

    eps: Positive = 1e-8
    """Added to the root mean square."""

    weight_decay: NonNegative = 0.0
    """Decoupled: a step multiplies the weights by 1 - lr · weight_decay."""

    master_weights: bool = True
    """Keep weights and optimizer state in float32 as well and step those, where the net is in half precision."""

    def not_capturable(self) -> str | None:
        """Return this optimizer: it computes with learning rates on the host."""
        return self.name


class Muon(Group):
    """Momentum, orthogonalised, for convolution filters and matrices (Jordan et al. 2024)."""

    min_dims: ClassVar[int] = 2

    name: Literal["muon"] = "muon"
    """This optimizer."""

    momentum: Momentum = 0.95
    """Share of the momentum buffer that a step keeps."""

    momentum_convention: Literal["sum", "lerp"] = "sum"
    """`sum`: buffer ← momentum · buffer + gradient. `lerp`: buffer ← momentum · buffer + (1 - momentum) ·
    gradient, as torch.optim.Muon has it. Orthogonalised updates do not feel the difference."""

    nesterov: bool = True
    """Orthogonalise gradient + momentum · buffer instead of the buffer (with `lerp`: the gradient moved by the
    share `momentum` towards the buffer)."""

    flatten: Literal["out", "in", "position"] = "out"
    """How a filter bank (out, in, h, w) becomes a matrix. `out`: out × (in · h · w). `in`: in × (out · h · w).
    `position`: a matrix out × in for each of the h · w positions."""

    adjust_lr: Literal["none", "original", "match_rms_adamw", "spectral"] = "none"
    """Factor on lr by the matrix's shape m × n. `original`: √max(1, m/n). `match_rms_adamw`: 0.2 · √max(m, n).
    `spectral`: √(m/n)."""

    max_update_norm: Positive | None = None
    """Scale a parameter's update down to this Frobenius norm, before lr, where it is larger. Unset: never."""

    weight_decay: NonNegative = 0.0
    """Decoupled, as in AdamW: a step multiplies the weights by 1 - lr · weight_decay."""

    orthogonalize: Orthogonalizer = NewtonSchulz()
    """How the update is orthogonalised."""

    batching: Literal["auto", "same_shape", "padded"] = "auto"
    """Orthogonalise matrices of one shape in one call, or all of them, padded with zeros to one shape: fewer
    kernels, more arithmetic, the same result. `auto`: padded on CUDA."""

    def not_capturable(self) -> str | None:
        """Return the way to orthogonalise, if it makes the host wait."""
        return None if self.orthogonalize.capturable else f"orthogonalize.method = {self.orthogonalize.method}"


OPTIMIZERS = Registry(
    "optimizer",
    {
        "sgd": Component(SGD, "airbench.optim.sgd:build_sgd"),
        "adam": Component(Adam, "airbench.optim.adam:build_adam"),
        "adamw": Component(AdamW, "airbench.optim.adam:build_adamw"),
        "normalized_momentum": Component(NormalizedMomentum, "airbench.optim.normalized_momentum:build"),
        "muon": Component(Muon, "airbench.optim.muon:build_muon"),
    },
)

OptimizerGroup = Annotated[Group, OPTIMIZERS]


class Lookahead(Config):
    """A slow copy of weights and batch statistics that the net is reset to (Zhang et al. 2019).

    At step t of T the slow copy moves 1 - decay^every · (t / T)^power of the way to the net.
    """

    every: Annotated[int, Field(ge=1)] = 5
    """Steps between two updates of the slow copy."""

    decay: Fraction = 0.95
    """See the formula above."""

    power: NonNegative = 3.0
    """See the formula above."""
