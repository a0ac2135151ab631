"""Selection by a proxy (Jordan 2024, airbench96_faster): a small net finds out beforehand which images are hard."""

import torch
from torch import Tensor

from airbench.data.batch import Batch
from airbench.optim.optimizers import Optimizers
from airbench.recipe.selections import ProxySelection
from airbench.training.results import TrialSeeds
from airbench.training.selection.base import Selection, take
from airbench.training.setup import TrialSetup


class HardestByProxy(Selection):
    """Replays the choices that were made while the proxy was trained on the same batches."""

    def __init__(self, choices: list[Tensor]):
        self.choices = choices
        """The rows of each step's batch that are trained on, ``(K,)``, ascending."""

    def choose(self, batch: Batch, step: int) -> Batch:
        """See :class:`Selection`."""
        return take(batch, self.choices[step])


def train_proxy(proxy: TrialSetup, seeds: TrialSeeds, steps: int, rows: int, backward_every: int) -> list[Tensor]:
    """Train the proxy for ``steps`` batches; return the ``rows`` examples with the highest losses of each."""
    proxy.net.reset(seeds.generator("init", "proxy"))
    proxy.prepare_net()
    proxy.net.train()
    loader, optimizers = proxy.new_loader(seeds), proxy.new_optimizers()
    choices: list[Tensor] = []
    while True:
        for batch in loader.epoch():
            step = len(choices)
            optimizers.before_step(step)
            sized, forward_loss = proxy.plan.sized(batch, step), proxy.forward_loss(step)
            if step % backward_every == 0:
                choices.append(_update(forward_loss(sized.images, sized.targets)[0], optimizers, rows))
            else:
                with torch.no_grad():
                    choices.append(hardest(forward_loss(sized.images, sized.targets)[0], rows))
            if len(choices) == steps:
                return choices


def _update(losses: Tensor, optimizers: Optimizers, rows: int) -> Tensor:
    """Update the proxy by its own hardest examples, and return them."""
    chosen = hardest(losses.detach(), rows)
    losses.backward(torch.zeros_like(losses).index_fill_(0, chosen, 1.0))
    optimizers.step()
    return chosen


def hardest(losses: Tensor, rows: int) -> Tensor:
    """Return the places of the ``rows`` highest losses, ascending: ``(B,)`` → ``(rows,)`` int64."""
    return losses.topk(rows, sorted=False).indices.sort().values


def build_proxy(config: ProxySelection, setup: TrialSetup, seeds: TrialSeeds) -> HardestByProxy:
    """Train the proxy for a trial, and build the selection that replays its choices."""
    assert setup.proxy is not None
    rows = setup.plan.at(0).rows
    return HardestByProxy(train_proxy(setup.proxy, seeds, setup.total_steps, rows, config.backward_every))
