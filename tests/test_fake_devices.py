"""The GPU's path without a GPU: every tensor where it belongs, no value that the host would have to wait for.

On `meta`, reading a value raises. Under FakeTensorMode with device "cuda", mixing devices raises;
PyTorch's fused optimizers do not run there, but on the null GPU.
"""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from airbench.data.loader import DeviceSplit, Loader
from airbench.data.transforms import ImageShape, build_transforms
from airbench.net.base import Net, NetContext, build_net, prepare
from airbench.optim.groups import route
from airbench.optim.lookahead import Lookahead
from airbench.optim.optimizers import Optimizers
from airbench.recipe import Recipe
from airbench.training.engine import EAGER, forward_loss
from airbench.training.evaluate import num_correct
from airbench.training.step import train_step
from tests.conftest import tiny

CONFIGS = ("airbench94_muon.yaml", "airbench94.yaml", "resnet18.yaml", "muonclip.yaml", "muon.yaml")


def make_optimizers(net: Net, recipe: Recipe) -> Optimizers:
    return Optimizers(route(net, recipe.optimizers), batch_size=50, total_steps=10, steps_per_epoch=4)


def fake_split(count: int, device: str) -> DeviceSplit:
    return DeviceSplit(
        torch.zeros(count, 32, 32, 3, dtype=torch.uint8, device=device),
        torch.zeros(count, dtype=torch.int64, device=device),
        torch.full((3,), 0.5, device=device),
        torch.full((3,), 0.25, device=device),
    )


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_whole_training_step_runs_on_meta(config: str, dtype: torch.dtype) -> None:
    recipe = tiny(config, "data.augment.cutout=8", "data.augment.color_jitter={brightness: 0.1}").recipe
    device = torch.device("meta")
    net = build_net(recipe.net, NetContext(10, 32), device, dtype)
    net.reset(torch.Generator().manual_seed(0))
    split = fake_split(200, "meta")
    generators = {"order": torch.Generator(), "augment": torch.Generator()}
    loader = Loader(split, build_transforms(recipe.data.augment, ImageShape(32, 3, 10)), 50, dtype, **generators)
    optimizers = make_optimizers(net, recipe)
    lookahead = Lookahead(net, recipe.lookahead, 10) if recipe.lookahead else None
    step = 0
    for batch in loader.epoch():
        optimizers.before_step(step)
        loss, logits = train_step(forward_loss(net, 0.2, EAGER), optimizers, batch)
        step += 1
        if lookahead:
            lookahead.after_step(step)
        assert loss.device.type == logits.device.type == "meta"
        assert logits.shape == (50, 10)
    assert step == 4
    right = num_correct(net, split.normalized(dtype), split.labels, recipe.evaluate)
    assert right.shape == ()


def fake_cuda_works() -> bool:
    """PyTorch 2.9 cannot index a fake CUDA tensor where its CUDA build finds no driver; newer ones can."""
    try:
        with FakeTensorMode():
            torch.empty(2, 2, device="cuda")[0]
    except RuntimeError:
        return False
    return True


@pytest.mark.skipif(not fake_cuda_works(), reason="this PyTorch's fake CUDA tensors need a driver")
@pytest.mark.parametrize("config", CONFIGS)
def test_loader_and_forward_stay_on_cuda(config: str) -> None:
    recipe = tiny(config, "data.augment.cutout=8", "data.augment.color_jitter={brightness: 0.1}").recipe
    with FakeTensorMode(allow_non_fake_inputs=True):
        device = torch.device("cuda")
        net = build_net(recipe.net, NetContext(10, 32), device, torch.float16)
        net.reset(torch.Generator().manual_seed(0))
        split = fake_split(200, "cuda")
        prepare(net, lambda count: split.normalized(torch.float16, count))
        generators = {"order": torch.Generator(), "augment": torch.Generator()}
        loader = Loader(
            split, build_transforms(recipe.data.augment, ImageShape(32, 3, 10)), 50, torch.float16, **generators
        )
        for batch in loader.epoch():
            assert batch.images.device.type == batch.targets.device.type == "cuda"
            assert batch.images.is_contiguous(memory_format=torch.channels_last)
            loss = net(batch.images).float().logsumexp(1).sum()  # autograd's backward does not run on fake cuda
            assert loss.device.type == "cuda"
        assert all(p.device.type == "cuda" for p in net.parameters())
        assert num_correct(net, split.normalized(torch.float16), split.labels, recipe.evaluate).device.type == "cuda"
