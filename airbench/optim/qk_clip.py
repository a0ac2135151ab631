"""QK-clip: smaller query and key weights where attention logits grow too large.

With Muon it makes MuonClip (Kimi Team 2025, arXiv:2507.20534, section 2.1).
"""

import math
from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from airbench.errors import RecipeError
from airbench.recipe import groups as schema


@runtime_checkable
class Attention(Protocol):
    """A layer of a net whose logits can be bounded; any module with these attributes is one."""

    qkv: nn.Linear
    """Without bias. The rows of its weight are the queries of each head, the keys of each head, the values."""
    heads: int
    qk_norm: bool
    """Whether queries and keys are normalised, so that scaling their weights changes nothing."""
    measures_logits: bool
    """Whether to measure ``max_logit``; set here."""
    max_logit: Tensor
    """The largest logit of each head ``(heads,)``, over the training forward passes since it was set to -∞."""


def find_attention(net: nn.Module, group: str, names: Sequence[str]) -> tuple[Attention | None, ...]:
    """Return, for each parameter of a ``group`` with ``qk_clip``, the attention whose fused projection it is, if any.

    Raises RecipeError if there is none, or one that cannot be bounded.
    """
    layers = {f"{path}.qkv.weight".lstrip("."): m for path, m in net.named_modules() if isinstance(m, Attention)}
    found = tuple(layers.get(name) for name in names)
    key = f"optimizers.{group}.qk_clip"
    if not any(found):
        raise RecipeError(
            f"{key}: none of the group's parameters, {', '.join(names)}, are the queries and keys of an attention; it "
            "belongs to the group that trains *.qkv.weight of net vit"
        )
    for attention in filter(None, found):
        if attention.qk_norm:
            raise RecipeError(
                f"{key}: the net normalises queries and keys, so scaling their weights changes nothing; set "
                "net.qk_norm=false, or remove qk_clip"
            )
        if attention.qkv.bias is not None:
            raise RecipeError(f"{key}: the queries and keys have biases, which it does not scale; use bias=False")
    return found


def shrinkage(max_logit: Tensor, threshold: float, balance: float) -> tuple[Tensor, Tensor]:
    """Return the factors on query and key weights for the largest logits S of any shape.

    (threshold / S)^balance and (threshold / S)^(1 - balance), both exactly 1 where S does not exceed the threshold.
    """
    excess = threshold / max_logit.clamp(min=threshold)
    return excess**balance, excess ** (1 - balance)


class QKClip:
    """QK-clip on some ``params``, each the weight of ``qkv`` of its attention, or a float32 copy of it.

    The largest logits accumulate over forward passes, as gradients do, until :meth:`after_step` uses and clears them.
    Everything stays on the device and no value decides what is launched, so steps can be captured in a CUDA graph.
    """

    def __init__(
        self, config: schema.QKClip, params: Sequence[Tensor], attentions: Sequence[Attention | None]
    ):  # fmt: skip
        self.config = config
        self.clipped = [(p, a) for p, a in zip(params, attentions, strict=True) if a is not None]
        for _, attention in self.clipped:
            attention.measures_logits = True
        heads = [attention.heads for _, attention in self.clipped]
        unseen = torch.full((sum(heads),), -math.inf, device=self.clipped[0][0].device)
        self.seen = unseen.clone()
        """The largest logit of each head, layer by layer, in the last step ``(all heads,)`` float32."""
        self._unseen = unseen.split(heads)

    @torch.no_grad()
    def after_step(self) -> None:
        """Scale the weights of the heads whose logits were too large in this step, and forget the logits.

        A parameter without a gradient, which the step did not train, is left alone.
        """
        measured = [attention.max_logit for _, attention in self.clipped]
        self.seen.copy_(torch.cat(measured))
        factors = shrinkage(self.seen, self.config.threshold, self.config.balance)
        for (p, attention), factor in zip(self.clipped, self._by_layer(*factors), strict=True):
            if p.grad is not None:
                scale_heads(p, attention.heads, factor)
        torch._foreach_copy_(measured, list(self._unseen))

    def _by_layer(self, queries: Tensor, keys: Tensor) -> Iterator[Tensor]:
        """Yield, for each layer, the factors on queries, keys and values ``(3, heads)``."""
        factors = torch.stack([queries, keys, torch.ones_like(keys)])
        yield from factors.split([attention.heads for _, attention in self.clipped], dim=1)


def scale_heads(weight: Tensor, heads: int, factors: Tensor) -> None:
    """Multiply the queries, keys and values of each head in ``weight`` ``(3 · heads · d, in)`` by ``(3, heads)``."""
    weight.view(3, heads, -1, *weight.shape[1:]).mul_(factors[:, :, None, None])
