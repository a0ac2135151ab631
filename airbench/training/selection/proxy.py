"""Selection by a proxy (Jordan 2024, airbench96_faster): a small net finds out beforehand which images are hard."""

import torch
from torch import Tensor

from airbench.data.epoch import Choice
from airbench.optim.optimizers import Optimizers
from airbench.recipe.selections import ProxySelection
from airbench.training.results import TrialSeeds
from airbench.training.selection.base import Selection
from airbench.training.setup import TrialSetup


class HardestByProxy(Selection):
    """Replays the choices that were made while the proxy was trained on the same batches."""

    def __init__(self, proxy: TrialSetup, steps: int, rows: int, backward_every: int):
        self.proxy, self.steps, self.rows, self.backward_every = proxy, steps, rows, backward_every
        self.choices: list[Tensor] = []
        """The rows of each step's batch that are trained on, ``(K,)``, ascending."""

    def start(self, seeds: TrialSeeds) -> None:
        """Train the proxy."""
        self.choices = train_proxy(self.proxy, seeds, self.steps, self.rows, self.backward_every)

    def choose(self, order: Tensor, step: int) -> Choice | None:
        """Take the proxy's choices. The last epoch has none for the batches after the last step."""
        kept = torch.stack(self.choices[step : step + len(order)])
        rows = torch.arange(order.numel(), device=order.device).view_as(order)
        return Choice(rows[: len(kept)].gather(1, kept).flatten(), [self.rows] * len(kept))


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
