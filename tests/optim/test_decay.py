"""Weight decay multiplies by 1 - share, however share is given and however many launches it takes."""

import pytest
import torch
from torch import Tensor

from airbench.optim.decay import _decay_together, decay

SHARES = (0.0, 2.7e-4, 0.1)


def params(*dtypes: torch.dtype) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    filters = [torch.randn(16, 8, 3, 3, generator=generator).to(dtype) for dtype in dtypes]
    return [*(f.contiguous(memory_format=torch.channels_last) for f in filters), torch.randn(5, generator=generator)]


@pytest.mark.parametrize("share", SHARES)
def test_share_is_a_number_or_a_tensor(share: float) -> None:
    for given in (share, torch.tensor(share)):
        decayed = params(torch.float32)
        decay(decayed, given)
        for p, before in zip(decayed, params(torch.float32), strict=True):
            torch.testing.assert_close(p, before * (1 - share))


HALF = pytest.param(
    [torch.float32, torch.float16, torch.bfloat16],
    marks=pytest.mark.skipif(
        torch.__version__ < (2, 14), reason="PyTorch's fused SGD leaves half precision as it is on a CPU (#191763)"
    ),
    id="half",
)


@pytest.mark.parametrize("dtypes", [pytest.param([torch.float32], id="float32"), HALF])
@pytest.mark.parametrize("share", SHARES)
def test_one_launch_rounds_every_parameter_once(share: float, dtypes: list[torch.dtype]) -> None:
    """Each is within half a unit in the last place of its exact value, whatever the types of those beside it."""
    decayed, before = (params(*dtypes) for _ in range(2))
    _decay_together(decayed, torch.tensor(share))
    for p, old in zip(decayed, before, strict=True):
        exact, unit = old.double() * (1 - share), torch.finfo(p.dtype).eps
        assert ((p.double() - exact).abs() <= 0.51 * unit * exact.abs() + unit**2).all()
        assert p.is_contiguous() == old.is_contiguous()
