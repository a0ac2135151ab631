"""What every parameter group has, whatever its optimizer."""

from typing import Annotated, ClassVar

from pydantic import Field, ValidationInfo, field_validator

from airbench.recipe.config import Config, Count, Epochs, Fraction, NonNegative, Positive
from airbench.recipe.orthogonalizers import Kernel
from airbench.recipe.schedules import Linear, Schedule


class Rescale(Config):
    """Rescale each parameter of a group to a fixed norm before the update (Jordan 2024, airbench94_muon)."""

    every: Count = 1
    """Steps between rescalings."""

    growth: NonNegative = 0.0
    """Rescale less often as training proceeds: every `every` + ⌊growth · t / T⌋ steps at step t of T."""

    norm: Positive = 1.0
    """Frobenius norm after rescaling, in units of the square root of the parameter's first dimension (the output
    channels of a convolution)."""

    def acts(self, step: int, total: int) -> bool:
        """Return whether parameters are rescaled at ``step`` (from 0) of ``total``."""
        return step % (self.every + int(self.growth * step / total)) == 0


class QKClip(Config):
    """Scale down the query and key weights of attention heads whose logits are too large (Kimi K2, 2025: MuonClip).

    After each step, where the largest attention logit of a head in that step, S, exceeds τ = `threshold`, its query
    weights are multiplied by (τ / S)^`balance` and its key weights by (τ / S)^(1 - `balance`).
    """

    threshold: Positive = 100.0
    """Largest attention logit that is left alone, after the division by the square root of a head's channels."""

    balance: Fraction = 0.5
    """Share of the scaling that the queries take; the keys take the rest. See the formula above."""


class Group(Config):
    """A parameter group: the settings common to all optimizers."""

    min_dims: ClassVar[int] = 0
    """Minimum number of dimensions of a parameter that this optimizer can train."""

    name: str

    params: str | Annotated[tuple[str, ...], Field(min_length=1)]
    """Pattern or patterns of parameter names (`*` matches anything). A parameter belongs to the first group that
    matches it; every run prints and records the assignment."""

    lr: Annotated[float, Field(gt=0, le=1e20, allow_inf_nan=False)]
    """Learning rate, for a loss summed over the batch; in `lr_unit`, if the optimizer has that setting."""

    train_epochs: Epochs | None = None
    """Freeze the group's parameters after this many epochs. Unset: train them to the end."""

    schedule: Schedule = Linear()
    """Schedule of the learning rate over the run, as a factor on `lr`."""

    rescale: Rescale | None = None
    """Rescale the parameters to a fixed norm before each update. Unset: never."""

    qk_clip: QKClip | None = None
    """Bound the attention logits that the group's fused query, key and value weights (`*.qkv.weight` of net `vit`)
    give, after each step. Not with `net.qk_norm`, nor with `rescale`, which would undo it. Unset: do not."""

    master_weights: bool = False
    """If the net is in half precision, update a float32 copy of its weights, with float32 optimizer state."""

    @field_validator("qk_clip")
    @classmethod
    def _stays_clipped(cls, value: QKClip | None, others: ValidationInfo) -> QKClip | None:
        if value is not None and others.data.get("rescale") is not None:
            raise ValueError(
                "rescale of the same group gives the weights their norm back, which undoes the clip; leave out one of "
                "the two (null removes an inherited one)"
            )
        return value

    def not_capturable(self) -> str | None:
        """Return what prevents CUDA graph capture of the update, by making the host wait; None if nothing does."""
        return None

    def decay_share(self) -> float:
        """Return the fraction of itself that decoupled weight decay takes from a weight per step at the full lr."""
        return 0.0

    def symmetric_kernel(self) -> Kernel:
        """Return what multiplies symmetric products; ``torch`` for an optimizer that does not choose."""
        return "torch"


class MomentumGroup(Group):
    """A group whose optimizer keeps a momentum buffer that can be limited."""

    max_momentum_norm: Positive | None = None
    """Clip the Frobenius norm of a parameter's momentum buffer to this, before it is used. Unset: do not clip."""
