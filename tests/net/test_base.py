"""How nets get memory, whatever they are made of."""

import torch
from torch import nn

from airbench.net.base import materialize


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.norm, self.norm3 = nn.BatchNorm1d(3), nn.BatchNorm3d(3)


def test_shared_weights_stay_shared_and_norms_are_float32() -> None:
    with torch.device("meta"):
        net = Tied()
    materialize(net, torch.device("cpu"), torch.bfloat16)
    assert net.second.weight is net.first.weight
    assert net.first.bias is not net.second.bias
    assert net.first.weight.dtype == torch.bfloat16
    assert {p.dtype for norm in (net.norm, net.norm3) for p in norm.parameters()} == {torch.float32}
