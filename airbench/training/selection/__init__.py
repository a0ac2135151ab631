"""Selection of examples: which images of each batch are trained on."""

from airbench.training.selection.base import Selection

__all__ = ["Selection"]
