"""The schema of what trains the parameters: groups, optimizers, schedules, orthogonalisation, lookahead."""

from typing import Annotated, Literal

from pydantic import Field

from airbench.recipe.knobs import Finite, Fraction, Knobs, Momentum, NonNegative, Positive


class Constant(Knobs):
    """The learning rate stays where it is."""

    name: Literal["constant"]
    """This schedule."""


class Linear(Knobs):
    """The learning rate moves in a straight line."""

    name: Literal["linear"]
    """This schedule."""

    start: NonNegative = 1.0
    """Factor on the group's lr at the first step."""

    end: NonNegative = 0.0
    """Factor on the group's lr that the line arrives at when `epochs` have passed."""

    epochs: Positive | None = None
    """Length in epochs, after which the factor stays at `end`. Unset: the whole run."""


class Triangular(Knobs):
    """The learning rate climbs to 1 and falls again, both in a straight line."""

    name: Literal["triangular"]
    """This schedule."""

    start: NonNegative = 0.2
    """Factor on the group's lr at the first step."""

    peak: Fraction = 0.23
    """Where the factor is 1, as a fraction of the run's steps."""

    end: NonNegative = 0.07
    """Factor on the group's lr that the line arrives at when the run is over."""


Schedule = Annotated[Constant | Linear | Triangular, Field(discriminator="name")]


class Group(Knobs):
    """Knobs that every group of parameters has."""

    params: str | Annotated[tuple[str, ...], Field(min_length=1)]
    """Pattern, or patterns, over parameter names (`*` matches anything). A parameter goes to the first
    group that matches it; every run prints and stores who went where."""

    lr: Positive
    """Learning rate, for a loss that is summed over the batch. Its unit is `lr_unit`."""

    train_epochs: Positive | None = None
    """Freeze the group's parameters after so many epochs. Unset: they train to the end."""

    schedule: Schedule = Linear(name="linear")
    """How the learning rate moves during the run, as a factor on `lr`."""


class SGD(Group):
    """Stochastic gradient descent with momentum (torch.optim.SGD)."""

    name: Literal["sgd"]
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


class NewtonSchulz(Knobs):
    """Orthogonalise by the quintic Newton-Schulz iteration (Jordan et al. 2024, Muon)."""

    method: Literal["newton_schulz"] = "newton_schulz"
    """This method."""

    steps: Annotated[int, Field(ge=0, le=100)] = 3
    """Iterations."""

    coefficients: tuple[Finite, Finite, Finite] = (3.4445, -4.7750, 2.0315)
    """(a, b, c) of X ← a X + b (X Xᵀ) X + c (X Xᵀ)² X."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """What it is computed in. `auto`: bfloat16, or float32 where the net itself is float32."""

    eps: Positive = 1e-7
    """Added to the Frobenius norm that the matrix is divided by first."""


class Muon(Group):
    """Momentum, orthogonalised, for convolution filters and matrices (Jordan et al. 2024)."""

    name: Literal["muon"]
    """This optimizer."""

    momentum: Momentum = 0.6
    """Share of the momentum buffer that a step keeps: buffer ← momentum · buffer + gradient."""

    nesterov: bool = True
    """Orthogonalise gradient + momentum · buffer instead of the buffer."""

    weight_decay: NonNegative = 0.0
    """Decoupled, as in AdamW: a step multiplies the weights by 1 - lr · weight_decay."""

    renormalize_every: Annotated[int, Field(ge=0)] = 1
    """Every so many steps, first rescale each filter bank to Frobenius norm √out_channels; 0 for never."""

    orthogonalize: NewtonSchulz = NewtonSchulz()
    """How the update is orthogonalised."""


OptimizerGroup = Annotated[SGD | Muon, Field(discriminator="name")]


class Lookahead(Knobs):
    """A slow copy of weights and batch statistics that the net is set back to (Zhang et al. 2019).

    At step t of T the slow copy moves 1 - decay^every · (t / T)^power of the way to the net.
    """

    every: Annotated[int, Field(ge=1)] = 5
    """Steps between two updates of the slow copy."""

    decay: Fraction = 0.95
    """See the formula above."""

    power: NonNegative = 3.0
    """See the formula above."""
