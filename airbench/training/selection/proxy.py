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

    def __init__(self, proxy: TrialSetup, steps: int, rows: int, backward_every: int):
        self.proxy, self.steps, self.backward_every = proxy, steps, backward_every
        self.choices: list[Tensor] = []
        """The rows of each step's batch that are trained on, ``(K,)``, ascending."""
        self.rows = torch.arange(rows, device=proxy.machine.device)
        """Those of this step."""

    def start(self, seeds: TrialSeeds) -> None:
        """Train the proxy."""
        self.choices = train_proxy(self.proxy, seeds, self.steps, len(self.rows), self.backward_every)

    def before_step(self, step: int) -> None:
        """See :class:`Selection`."""
        if self.choices:  # there are none in a warm-up
            self.rows.copy_(self.choices[step])

    def choose(self, batch: Batch, step: int) -> Batch:
        """See :class:`Selection`."""
        return take(batch, self.rows)


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


def build_proxy(config: ProxySelection, setup: TrialSetup) -> HardestByProxy:
    """Build the selection for the trials of a setup."""
    assert setup.proxy is not None
    return HardestByProxy(setup.proxy, setup.total_steps, setup.plan.at(0).rows, config.backward_every)
