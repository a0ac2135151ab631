"""Test-time augmentation equals explicit forward passes."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from airbench.net.base import NetContext
from airbench.net.cifarnet import CifarNet
from airbench.recipe import nets as schema
from airbench.recipe.schema import Evaluate
from airbench.training.evaluate import _averaged_together, num_correct, predict, views


@pytest.fixture
def net() -> CifarNet:
    net = CifarNet(schema.CifarNet(widths=(4, 6, 8)), NetContext(10, 32))
    net.reset(torch.Generator().manual_seed(0))
    return net


def test_six_views_equal_six_forward_passes(net: CifarNet) -> None:
    images = torch.randn(7, 3, 32, 32)
    net.eval()
    padded = F.pad(images, (1, 1, 1, 1), mode="reflect")
    up_left, down_right = padded[:, :, 2:, 2:], padded[:, :, :-2, :-2]
    with torch.no_grad():
        expected = (
            0.25 * net(images) + 0.25 * net(images.flip(3))
            + 0.125 * net(up_left) + 0.125 * net(up_left.flip(3))
            + 0.125 * net(down_right) + 0.125 * net(down_right.flip(3))
        )  # fmt: skip
    assert torch.allclose(predict(net, images, Evaluate(batch_size=3)), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("tta", "count"), [((), 1), (("mirror",), 2), (("translate",), 3), (("mirror", "translate"), 6)]
)
def test_weights_of_the_views_add_up_to_one(tta: tuple[str, ...], count: int) -> None:
    for weights in ("half_centre", "equal"):
        found = views(Evaluate(tta=tta, view_weights=weights))  # type: ignore[arg-type]
        assert len(found) == count
        assert sum(view.weight for view in found) == pytest.approx(1)
    assert len({view.weight for view in found}) == 1


def test_batches_do_not_matter(net: CifarNet) -> None:
    images = torch.randn(10, 3, 32, 32)
    assert torch.allclose(
        predict(net, images, Evaluate(tta=("mirror",), batch_size=3)),
        predict(net, images, Evaluate(tta=("mirror",), batch_size=10)),
        atol=1e-6,
    )


def test_no_augmentation_is_the_plain_net_in_evaluation_mode(net: CifarNet) -> None:
    images = torch.randn(4, 3, 32, 32)
    net.train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    found = predict(net, images, Evaluate(tta=(), batch_size=4))
    assert torch.equal(found, net.eval()(images).detach())
    assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())


def test_num_correct_counts() -> None:
    class Fixed(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1)

    logits = torch.tensor([[1.0, 2.0], [3.0, 1.0], [0.0, 5.0]]).reshape(3, 2, 1, 1)
    assert num_correct(Fixed(), logits, torch.tensor([1, 1, 1]), Evaluate(tta=(), batch_size=2)).item() == 2


@pytest.mark.parametrize("share", [0.05, 0.25, 0.9])
def test_the_uncertain_share_is_seen_in_all_views_and_the_rest_as_it_is(net: CifarNet, share: float) -> None:
    images = torch.randn(40, 3, 32, 32)
    plain = predict(net, images, Evaluate(tta=(), batch_size=7))
    every = predict(net, images, Evaluate(batch_size=7))
    found = predict(net, images, Evaluate(batch_size=7, uncertain=share))
    order = plain.softmax(1).max(1).values.argsort()
    count = round(share * 40)
    assert torch.allclose(found[order[:count]], every[order[:count]], atol=1e-6)
    assert torch.equal(found[order[count:]], plain[order[count:]])
    assert not torch.allclose(every, plain, atol=1e-6)


@pytest.mark.parametrize("tta", [("mirror",), ("translate",), ("mirror", "translate")])
def test_views_gathered_together_give_the_logits_of_views_one_by_one(net: CifarNet, tta: tuple[str, ...]) -> None:
    images = torch.randn(11, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    config = Evaluate(tta=tta, batch_size=4)  # type: ignore[arg-type]
    with torch.no_grad():
        together = _averaged_together(net.eval(), images, views(config), batch_size=4)
    assert torch.allclose(together, predict(net, images, config), atol=1e-5)
