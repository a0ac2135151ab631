"""The GPU's path without a GPU: every tensor where it belongs, no value that the host would have to wait for.

On `meta`, reading a value raises. Under FakeTensorMode with device "cuda", mixing devices raises.
"""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from airbench.data.loader import DeviceSplit, Loader
from airbench.training.evaluate import correct
from airbench.net.cifarnet import CifarNet, build_net
from airbench.optim.lookahead import Lookahead
from airbench.optim.routing import Optimizers, route
from airbench.recipe import Recipe
from airbench.training.step import train_step
from tests.conftest import tiny

CONFIGS = ("airbench94_muon.yaml", "sgd.yaml")


def make_optimizers(net: CifarNet, recipe: Recipe) -> Optimizers:
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
    recipe = tiny(config, "data.augment.cutout=8").recipe
    device = torch.device("meta")
    net = build_net(recipe.net, 10, 32, device, dtype)
    net.reset(torch.Generator().manual_seed(0))
    split = fake_split(200, "meta")
    generators = {"order": torch.Generator(), "augment_generator": torch.Generator()}
    loader = Loader(split, recipe.data.augment, 50, dtype, **generators)
    optimizers = make_optimizers(net, recipe)
    lookahead = Lookahead(net, recipe.lookahead, 10) if recipe.lookahead else None
    step = 0
    for images, labels in loader.epoch(0):
        optimizers.before_step(step)
        loss, logits = train_step(net, optimizers, images, labels, 0.2)
        step += 1
        if lookahead:
            lookahead.after_step(step)
        assert loss.device.type == logits.device.type == "meta"
        assert logits.shape == (50, 10)
    assert step == 4
    right = correct(net, split.normalized(dtype), split.labels, recipe.evaluate)
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
def test_loader_forward_and_optimizer_step_stay_on_cuda(config: str) -> None:
    recipe = tiny(config, "data.augment.cutout=8").recipe
    with FakeTensorMode(allow_non_fake_inputs=True):
        device = torch.device("cuda")
        net = build_net(recipe.net, 10, 32, device, torch.float16)
        net.reset(torch.Generator().manual_seed(0))
        split = fake_split(200, "cuda")
        net.set_whitening(split.normalized(torch.float16, 100))
        generators = {"order": torch.Generator(), "augment_generator": torch.Generator()}
        loader = Loader(split, recipe.data.augment, 50, torch.float16, **generators)
        optimizers = make_optimizers(net, recipe)
        lookahead = Lookahead(net, recipe.lookahead, 10) if recipe.lookahead else None
        for step, (images, labels) in enumerate(loader.epoch(0)):
            assert images.device.type == labels.device.type == "cuda"
            assert images.is_contiguous(memory_format=torch.channels_last)
            optimizers.before_step(step)
            loss = net(images).float().logsumexp(1).sum()  # autograd's backward does not run on fake cuda
            assert loss.device.type == "cuda"
            for r in route(net, recipe.optimizers):
                for p in r.params:
                    p.grad = torch.zeros_like(p)
            optimizers.step()
            if lookahead:
                lookahead.after_step(5)
        assert all(p.device.type == "cuda" for p in net.parameters())
        assert correct(net, split.normalized(torch.float16), split.labels, recipe.evaluate).device.type == "cuda"
