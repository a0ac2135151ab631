"""What a trial leaves behind if asked to: the trained net, and its predictions."""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from airbench.data.foreign import one_line
from airbench.data.loader import normalize
from airbench.data.own import pixels
from airbench.data.transforms import ImageShape
from airbench.device import Machine
from airbench.errors import DataError
from airbench.net.base import Net, build_net
from airbench.recipe import Recipe
from airbench.training.evaluate import predict
from airbench.training.setup import TrialSetup, net_context

FORMAT = 1


@dataclass(frozen=True)
class TrainedNet:
    """A trained net, and what it needs to classify images: a run's recipe and its images' statistics."""

    net: Net
    recipe: Recipe
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    shape: ImageShape
    machine: Machine

    def logits(self, images: Any, *, tta: bool = True) -> Tensor:
        """Classify uint8 images ``(N, H, W, C)`` or ``(N, C, H, W)``, with the recipe's test-time augmentation or not.

        Returns logits ``(N, classes)``, float32, on the CPU. Where a recipe augments only its most uncertain images
        (``evaluate.uncertain``), those are the most uncertain of ``images``. Raises DataError for images that do not
        fit.
        """
        array = pixels(images, "images")
        wanted = (self.shape.side, self.shape.side, self.shape.channels)
        if array.shape[1:] != wanted:
            given = "×".join(map(str, array.shape[1:]))
            raise DataError(f"images are {given}; this net takes {'×'.join(map(str, wanted))}: convert them first")
        evaluate = self.recipe.evaluate if tta else self.recipe.evaluate.without_tta()
        device = self.machine.device
        mean, std = torch.tensor(self.mean, device=device), torch.tensor(self.std, device=device)
        normal = normalize(torch.as_tensor(array, device=device), mean, std, self.machine.dtype).permute(0, 3, 1, 2)
        return predict(self.net, normal, evaluate).float().cpu()

    def content(self) -> bytes:
        """Return the content of a file that :func:`read_net` reads, and ``torch.load(…, weights_only=True)``."""
        buffer = io.BytesIO()
        torch.save(
            {
                "format": FORMAT,
                "weights": {name: value.detach().cpu() for name, value in self.net.state_dict().items()},
                "classes": list(self.classes),
                "mean": list(self.mean),
                "std": list(self.std),
                "side": self.shape.side,
                "channels": self.shape.channels,
            },
            buffer,
        )
        return buffer.getvalue()


def trained_net(setup: TrialSetup) -> TrainedNet:
    """Return the net of ``setup`` as its last trial left it. The next trial overwrites its weights."""
    mean, std = (tuple(value.tolist()) for value in (setup.train.mean, setup.train.std))
    return TrainedNet(setup.net, setup.recipe, setup.classes, mean, std, setup.shape, setup.machine)


def read_net(content: bytes, recipe: Recipe, machine: Machine, what: str) -> TrainedNet:
    """Rebuild a net from a file's ``content``. Raises DataError, naming the file as ``what``, if it does not fit."""
    with one_line(what, state="not the weights of this run's net", remedy="copy the run folder again"):
        saved: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        if saved["format"] != FORMAT:
            raise DataError(f"{what}: format {saved['format']}, which this version does not read")
        classes, mean, std = (tuple(saved[key]) for key in ("classes", "mean", "std"))
        shape = ImageShape(int(saved["side"]), int(saved["channels"]), len(classes))
        net = build_net(recipe.net, net_context(recipe, shape), machine.device, machine.dtype)
        net.load_state_dict(saved["weights"])
        return TrainedNet(net, recipe, classes, mean, std, shape, machine)


def predictions_content(logits: Tensor, labels: Tensor) -> bytes:
    """Return the content of a .npz file: ``logits`` ``(N, classes)`` float32, ``labels`` and ``indices`` ``(N,)``.

    Indices are positions among the images that were evaluated, in canonical order (see :func:`dataset.make_split`).
    """
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        logits=logits.float().cpu().numpy(),
        labels=labels.cpu().numpy(),
        indices=np.arange(len(labels)),
    )
    return buffer.getvalue()
