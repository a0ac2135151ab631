"""PyTorch's own random numbers, which nothing here draws, but a net of a user's may: dropout, for instance."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from airbench.training.results import TrialSeeds


@contextmanager
def seeded(device: torch.device, seeds: TrialSeeds) -> Iterator[None]:
    """Seed those of the CPU and of ``device`` for a trial, and give them back afterwards as they were.

    Those of other GPUs are left alone: to look at them would create a context on each.
    """
    seed = seeds.generator("augment", "net").initial_seed()
    with torch.random.fork_rng([device] if device.type == "cuda" else [], device_type="cuda"):
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        if device.type != "mps":
            yield
            return
        state = torch.mps.get_rng_state()
        torch.mps.manual_seed(seed)
        try:
            yield
        finally:
            torch.mps.set_rng_state(state)
