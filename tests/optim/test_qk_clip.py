"""QK-clip bounds the attention logits head by head, and touches nothing else."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from torch import Tensor, nn

from airbench.errors import RecipeError
from airbench.net.base import NetContext
from airbench.net.vit import Attention, ViT
from airbench.optim.groups import route
from airbench.optim.optimizers import Optimizers
from airbench.optim.qk_clip import QKClip, scale_heads, shrinkage
from airbench.optim.rescale import rescale
from airbench.recipe import load_recipe
from airbench.recipe.groups import QKClip as Config
from airbench.recipe.nets import ViT as Net
from airbench.recipe.optimizers import OptimizerGroup

WIDTH, HEADS = 12, 3
D = WIDTH // HEADS


def attention(scales: tuple[float, ...] = (1.0, 5.0, 9.0), dtype: torch.dtype = torch.float32) -> Attention:
    """An attention whose heads' logits differ in size."""
    module = Attention(WIDTH, HEADS, qk_norm=False)
    generator = torch.Generator().manual_seed(3)
    rows = torch.tensor(scales).repeat_interleave(D).repeat(3)[:, None]
    module.qkv.weight.data = (torch.randn(3 * WIDTH, WIDTH, generator=generator) * 0.3 * rows).to(dtype)
    module.proj.to(dtype)
    module.max_logit.fill_(-math.inf)
    module.measures_logits = True
    return module


def batch(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(4, 6, WIDTH, generator=torch.Generator().manual_seed(4)).to(dtype)


def reference(weight: Tensor, x: Tensor, threshold: float, balance: float) -> Tensor:
    """Kimi K2, section 2.1, head by head, token by token, in float64."""
    weight, x = weight.detach().double().clone(), x.double()
    for h in range(HEADS):
        q, k = (slice(part * WIDTH + h * D, part * WIDTH + (h + 1) * D) for part in (0, 1))
        largest = max(
            (weight[q] @ x[n, i]).dot(weight[k] @ x[n, j]).item() / D**0.5
            for n in range(len(x)) for i in range(x.shape[1]) for j in range(x.shape[1])
        )  # fmt: skip
        if largest > threshold:
            weight[q] *= (threshold / largest) ** balance
            weight[k] *= (threshold / largest) ** (1 - balance)
    return weight


def clipped(module: Attention, x: Tensor, threshold: float, balance: float = 0.5) -> QKClip:
    """Measure the logits of ``x``, then clip, as after a step that left the weights where they were."""
    clip = QKClip(Config(threshold=threshold, balance=balance), [module.qkv.weight], [module])
    module(x)
    module.qkv.weight.grad = torch.zeros_like(module.qkv.weight)
    clip.after_step()
    return clip


def largest_logits(module: Attention, x: Tensor) -> Tensor:
    module.max_logit.fill_(-math.inf)
    module(x)
    return module.max_logit.clone()


@pytest.mark.parametrize("balance", [0.0, 0.3, 0.5, 1.0])
def test_the_clip_is_the_papers_in_float64(balance: float) -> None:
    module, x = attention(), batch()
    expected = reference(module.qkv.weight, x, 2.0, balance)
    clipped(module, x, 2.0, balance)
    torch.testing.assert_close(module.qkv.weight.detach().double(), expected, rtol=1e-5, atol=1e-6)


@given(
    threshold=st.sampled_from([0.01, 0.7, 2.0, 30.0]),
    balance=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    scales=st.tuples(*[st.sampled_from([0.0, 0.1, 1.0, 10.0])] * 3),
)
def test_no_head_exceeds_the_threshold_on_the_same_batch(
    threshold: float, balance: float, scales: tuple[float, ...]
) -> None:
    module, x = attention(scales), batch()
    before = largest_logits(module, x)
    module.max_logit.fill_(-math.inf)
    seen = clipped(module, x, threshold, balance).seen
    assert torch.equal(seen, before)
    after = largest_logits(module, x)
    assert (after <= threshold * (1 + 1e-5)).all()
    torch.testing.assert_close(after, before.clamp(max=threshold), rtol=1e-4, atol=1e-6)


def test_heads_below_the_threshold_values_and_other_weights_keep_their_bits() -> None:
    module, x = attention(), batch()
    before = module.qkv.weight.detach().clone().view(3, HEADS, D, WIDTH)
    rest = module.proj.weight.detach().clone()
    logits = largest_logits(module, x)
    threshold = logits.sort().values[:2].mean().item()
    module.max_logit.fill_(-math.inf)
    clipped(module, x, threshold)
    after = module.qkv.weight.detach().view(3, HEADS, D, WIDTH)
    quiet = logits <= threshold
    assert quiet.sum() == 1
    assert torch.equal(after[:, quiet], before[:, quiet])
    assert torch.equal(after[2], before[2])
    assert not torch.equal(after[0, ~quiet], before[0, ~quiet])
    assert torch.equal(module.proj.weight, rest)


def test_a_head_that_nobody_measured_and_one_of_negative_logits_are_left_alone() -> None:
    for factors in shrinkage(torch.tensor([-math.inf, -3.0, 0.0, 2.0]), 2.0, 0.5):
        assert factors.tolist() == [1.0] * 4


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_scaling_heads_is_that_of_the_rows(dtype: torch.dtype) -> None:
    weight = torch.randn(3 * WIDTH, 5).to(dtype)
    factors = torch.rand(3, HEADS)
    expected = weight.float() * factors.flatten().repeat_interleave(D)[:, None]
    scale_heads(weight, HEADS, factors)
    torch.testing.assert_close(weight, expected.to(dtype))


CONSTANT = {"name": "constant"}


def groups(**qkv: Any) -> dict[str, OptimizerGroup]:
    described = {
        "qkv": {"name": "muon", "params": "*.qkv.weight", "lr": 0.05, "schedule": CONSTANT, **qkv},
        "rest": {"name": "adamw", "params": "*", "lr": 0.01, "schedule": CONSTANT},
    }
    return {name: TypeAdapter(OptimizerGroup).validate_python(each) for name, each in described.items()}


def net(**settings: Any) -> ViT:
    config = Net(**{"patch": 4, "width": WIDTH, "depth": 2, "heads": HEADS, "qk_norm": False, **settings})
    made = ViT(config, NetContext(10, 16))
    made.reset(torch.Generator().manual_seed(0))
    return made


def train(made: ViT, qkv: dict[str, Any], steps: int = 4, parts: int = 1) -> Optimizers:
    """Train on random images, in ``parts`` forward passes a step."""
    optimizers = Optimizers(route(made, groups(**qkv)), batch_size=8, total_steps=steps, steps_per_epoch=steps)
    images = torch.randn(steps, 8, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    for step in range(steps):
        made.train()
        optimizers.before_step(step)
        for part in images[step].chunk(parts):
            made(part).logsumexp(1).sum().backward()
        optimizers.step()
        made.eval()
        made(100 * images[step])  # an evaluation, whose logits are larger, changes nothing
    return optimizers


def test_a_training_with_a_threshold_out_of_reach_has_the_bits_of_one_without() -> None:
    plain, watched = net(), net()
    train(plain, {})
    optimizers = train(watched, {"qk_clip": {"threshold": 1e6}})
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), watched.parameters(), strict=True))
    assert optimizers.trained[0].qk_clip is not None
    assert optimizers.trained[0].qk_clip.seen.isfinite().all()
    assert not plain.blocks[0].attention.measures_logits


@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_each_step_clips_by_the_logits_of_its_own_forward_pass(name: str) -> None:
    """Any optimizer's group: what a step does without the clip, and then the reference by that step's logits."""
    threshold, made, other = 0.05, net(), net()
    optimizers = train(made, {"name": name, "qk_clip": {"threshold": threshold, "balance": 0.3}}, steps=1)
    train(other, {"name": name}, steps=1)
    clip = optimizers.trained[0].qk_clip
    assert clip is not None
    assert (clip.seen > threshold).any()
    for index, (ours, theirs) in enumerate(zip(made.blocks, other.blocks, strict=True)):
        expected = theirs.attention.qkv.weight.detach().double().view(3, HEADS, D, WIDTH)
        for h in range(HEADS):
            gamma = min(1.0, threshold / clip.seen[index * HEADS + h].item()) if clip.seen[index * HEADS + h] > 0 else 1
            expected[0, h] *= gamma**0.3
            expected[1, h] *= gamma**0.7
        torch.testing.assert_close(
            ours.attention.qkv.weight.detach().double(), expected.view(-1, WIDTH), rtol=1e-5, atol=1e-6
        )


def test_logits_of_a_step_are_those_of_all_its_forward_passes_and_of_no_other() -> None:
    whole, parts = (train(net(), {"qk_clip": {"threshold": 0.2}}, parts=n).trained[0].qk_clip for n in (1, 4))
    assert whole is not None
    assert parts is not None
    torch.testing.assert_close(whole.seen, parts.seen, rtol=1e-4, atol=1e-5)
    assert all(a.max_logit.isneginf().all() for _, a in whole.clipped)


def test_a_frozen_group_is_not_clipped() -> None:
    made = net()
    optimizers = Optimizers(
        route(made, groups(qk_clip={"threshold": 1e-6}, train_epochs=1)), batch_size=8, total_steps=4, steps_per_epoch=1
    )
    optimizers.before_step(2)
    before = made.blocks[0].attention.qkv.weight.detach().clone()
    made.train()(torch.randn(8, 3, 16, 16)).sum().backward()
    optimizers.step()
    assert torch.equal(made.blocks[0].attention.qkv.weight, before)


def test_in_half_precision_the_float32_copies_are_clipped() -> None:
    made = net().to(torch.bfloat16)
    optimizers = Optimizers(
        route(made, groups(qk_clip={"threshold": 0.01}, master_weights=True, lr=1e-9)),
        batch_size=8, total_steps=4, steps_per_epoch=4,
    )  # fmt: skip
    trained = optimizers.trained[0]
    assert trained.master is not None
    before = [copy.detach().clone() for copy in trained.master.copies]
    made(torch.randn(8, 3, 16, 16).bfloat16()).float().sum().backward()
    optimizers.step()
    for was, copy, p, (_, module) in zip(
        before, trained.master.copies, trained.master.params, trained.qk_clip.clipped, strict=True  # type: ignore[union-attr]
    ):  # fmt: skip
        assert torch.equal(p, copy.to(torch.bfloat16))
        ratio = (copy / was).detach().view(3, HEADS, D, WIDTH)
        assert (ratio[:2].amin((0, 2, 3)) < 0.9).any()
        torch.testing.assert_close(ratio[2], torch.ones_like(ratio[2]), rtol=1e-4, atol=1e-4)
        assert module.heads == HEADS


class OfTwoMaps(nn.Module):
    """A net without attention."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(4, 12)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (net(qk_norm=True), r"optimizers.qkv.qk_clip: the net normalises queries and keys.*net.qk_norm=false"),
        (nn.ModuleDict({"a": OfTwoMaps()}), r"optimizers.qkv.qk_clip: none of the group's parameters, a.qkv.weight"),
    ],
)
def test_where_it_makes_no_sense_it_is_refused_in_one_line(made: nn.Module, said: str) -> None:
    with pytest.raises(RecipeError, match=said) as error:
        route(made, groups(qk_clip={}))
    assert "\n" not in str(error.value)


def test_biases_of_queries_and_keys_are_refused() -> None:
    made = net()
    made.blocks[1].attention.qkv = nn.Linear(WIDTH, 3 * WIDTH)
    with pytest.raises(RecipeError, match="have biases"):
        route(made, groups(qk_clip={}))


def test_with_rescale_it_is_refused_by_file_line_and_key(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("extends: muonclip.yaml\noptimizers:\n  qkv:\n    rescale: {}\n    qk_clip: {threshold: 30}\n")
    where = rf"{file}:5: optimizers\.qkv\.qk_clip = .*: rescale of the same group"
    with pytest.raises(RecipeError, match=where) as raised:
        load_recipe(file)
    assert "\n" not in str(raised.value)
    assert load_recipe(file, ["optimizers.qkv.rescale=null"]).recipe.optimizers["qkv"].qk_clip is not None
    assert load_recipe(file, ["optimizers.qkv.qk_clip=null"]).recipe.optimizers["qkv"].rescale is not None


def test_rescaling_would_undo_the_clip() -> None:
    """Why it is refused: queries and keys that were scaled down grow again at once."""
    weight = torch.randn(3 * WIDTH, WIDTH, generator=torch.Generator().manual_seed(5))
    rescale([weight])
    scale_heads(weight, HEADS, torch.tensor([0.5, 0.5, 1.0])[:, None].expand(3, HEADS))
    clipped = weight.clone()
    rescale([weight])
    assert (weight[: 2 * WIDTH].norm() > 1.2 * clipped[: 2 * WIDTH].norm()).item()
