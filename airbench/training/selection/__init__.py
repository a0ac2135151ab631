"""Selection of examples: which images of each batch are trained on."""

from airbench.training.selection.base import Selection, take

__all__ = ["Selection", "take"]
