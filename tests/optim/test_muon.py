"""Muon against a readable reference implementation, and against torch.optim.Muon."""

import copy
import pickle
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from airbench import Muon
from airbench.optim.orthogonalize import newton_schulz
from airbench.optim.orthogonalize.build import unchanged


def exact(x: Tensor) -> Tensor:
    return newton_schulz(x, dtype=torch.float64)


def flattened(t: Tensor, flatten: str) -> list[tuple[tuple[object, ...], Tensor]]:
    """The matrices of a parameter (out, in, h, w), each with the indices in the parameter that it stands at."""
    everything = slice(None)
    if flatten == "position" and t.ndim == 4:
        places = [(everything, everything, i, j) for i in range(t.shape[2]) for j in range(t.shape[3])]
        return [(place, t[place]) for place in places]
    if flatten == "in":
        return [((everything,), torch.stack([t[:, i].reshape(-1) for i in range(t.shape[1])]))]
    return [((everything,), torch.stack([t[o].reshape(-1) for o in range(t.shape[0])]))]


def reference_step(p: Tensor, g: Tensor, buffer: Tensor, k: dict[str, Any]) -> None:
    """One step for one parameter, as the class's docstring says it."""
    lerp = k["momentum_convention"] == "lerp"
    fresh = 1 - k["momentum"] if lerp else 1
    buffer.copy_(k["momentum"] * buffer + fresh * g)
    u = fresh * g + k["momentum"] * buffer if k["nesterov"] else buffer
    update = torch.zeros_like(u)
    for place, matrix in flattened(u, k["flatten"]):
        out = exact(matrix)
        shape = update[place].shape
        back = out.reshape(shape)
        if k["flatten"] == "in":
            back = torch.stack([row.reshape(shape[0], *shape[2:]) for row in out], dim=1)
        update[place] = back
        m, n = matrix.shape
    if k["max_update_norm"] and update.norm() > k["max_update_norm"]:
        update *= k["max_update_norm"] / update.norm()
    adjust = {"none": 1, "original": max(1, m / n) ** 0.5, "match_rms_adamw": 0.2 * max(m, n) ** 0.5}
    adjust["spectral"] = (m / n) ** 0.5
    p *= 1 - k["lr"] * k["weight_decay"]
    p -= k["lr"] * adjust[k["adjust_lr"]] * update


@settings(max_examples=40)
@given(
    config=st.fixed_dictionaries(
        {
            "lr": st.just(0.1),
            "nesterov": st.booleans(),
            "momentum": st.sampled_from([0.0, 0.6, 0.95]),
            "momentum_convention": st.sampled_from(["sum", "lerp"]),
            "weight_decay": st.sampled_from([0.0, 0.1]),
            "flatten": st.sampled_from(["out", "in", "position"]),
            "adjust_lr": st.sampled_from(["none", "original", "match_rms_adamw", "spectral"]),
            "max_update_norm": st.sampled_from([None, 0.5, 100.0]),
        }
    ),
    padded=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_twenty_steps_equal_the_reference(config: dict[str, Any], padded: bool, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    shapes = [(4, 3, 3, 3), (6, 4), (4, 3, 3, 3), (3, 8)]
    params = [nn.Parameter(torch.randn(s, dtype=torch.float64, generator=g)) for s in shapes]
    expected = [p.detach().clone() for p in params]
    buffers = [torch.zeros_like(p) for p in expected]
    muon = Muon(params, **config, orthogonalize=exact, padded=padded)
    for _ in range(20):
        for p, e, b in zip(params, expected, buffers, strict=True):
            p.grad = torch.randn(p.shape, dtype=torch.float64, generator=g)
            reference_step(e, p.grad, b, config)
        muon.step()
    for p, e in zip(params, expected, strict=True):
        assert torch.allclose(p, e, atol=1e-8)


@settings(max_examples=10)
@given(st.booleans(), st.sampled_from([0.0, 0.9]), st.integers(0, 2**31))
def test_without_orthogonalisation_it_is_torchs_sgd(nesterov: bool, momentum: float, seed: int) -> None:
    torch.manual_seed(seed)
    ours = nn.Parameter(torch.randn(4, 3, 2, 2))
    theirs = nn.Parameter(ours.detach().clone())
    muon = Muon([ours], lr=0.1, momentum=momentum, nesterov=nesterov, orthogonalize=lambda m: m)
    sgd = torch.optim.SGD([theirs], lr=0.1, momentum=momentum, nesterov=nesterov and momentum > 0)
    for _ in range(5):
        ours.grad = torch.randn_like(ours)
        theirs.grad = ours.grad.clone()
        muon.step()
        sgd.step()
    assert torch.allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("adjust_lr", ["original", "match_rms_adamw"])
def test_lerp_and_adjusted_lr_step_as_torch_optim_muon_does(adjust_lr: str) -> None:
    """Both round to bfloat16 within the orthogonalisation, at different places: some 1%."""
    torch.manual_seed(0)
    ours = nn.Parameter(torch.randn(48, 16))
    theirs = nn.Parameter(ours.detach().clone())
    start = ours.detach().clone()
    config = {"lr": 0.02, "momentum": 0.9, "weight_decay": 0.1}
    muon = Muon([ours], **config, momentum_convention="lerp", adjust_lr=adjust_lr)  # type: ignore[arg-type]
    reference = torch.optim.Muon([theirs], **config, ns_steps=5, adjust_lr_fn=adjust_lr)  # type: ignore[arg-type]
    for _ in range(10):
        ours.grad = torch.randn(48, 16)
        theirs.grad = ours.grad.clone()
        muon.step()
        reference.step()
    assert (ours - theirs).norm() < 0.02 * (theirs - start).norm()


@pytest.mark.parametrize("shape", [(16, 16), (16, 48), (48, 16)])
@pytest.mark.parametrize("nesterov", [True, False])
def test_steps_as_torch_optim_muon_does(shape: tuple[int, int], nesterov: bool) -> None:
    """torch.optim.Muon's buffer is an average where ours is a sum: (1 - momentum) times ours.

    The orthogonal factor does not feel that scale. Its learning rate grows with √(rows / columns) where there
    are more rows. Both orthogonalise in bfloat16 but round at different places: 8 bits, some 1%.
    """
    lr, momentum, decay, steps = 0.02, 0.9, 0.1, 20
    tall = max(1.0, shape[0] / shape[1]) ** 0.5
    torch.manual_seed(0)
    ours = nn.Parameter(torch.randn(shape))
    theirs = nn.Parameter(ours.detach().clone())
    start = ours.detach().clone()
    reference = torch.optim.Muon([theirs], lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=decay, ns_steps=5)
    muon = Muon([ours], lr=lr * tall, momentum=momentum, nesterov=nesterov, weight_decay=decay / tall)
    for _ in range(steps):
        ours.grad = torch.randn(shape)
        theirs.grad = ours.grad.clone()
        muon.step()
        reference.step()
    moved = (theirs - start).norm()
    assert (ours - theirs).norm() < 0.02 * moved


@pytest.mark.parametrize(
    ("method", "padded"), [(newton_schulz, None), (partial(newton_schulz, steps=3), None), (exact, False)]
)
def test_only_our_methods_are_padded_unless_asked(method: Any, padded: bool | None) -> None:
    """Of a function of the user's nothing is known: it gets the matrices as they are, on every device."""
    assert Muon([nn.Parameter(torch.zeros(4, 3))], orthogonalize=method).padded is padded
    assert Muon([nn.Parameter(torch.zeros(4, 3))], orthogonalize=method, padded=True).padded is True


def test_a_setting_that_changes_the_matrices_may_be_edited() -> None:
    p = nn.Parameter(torch.randn(6, 4))
    muon = Muon([p], neuron_beta=0.9)
    for split in (1, 2, 3):
        muon.param_groups[0]["split"] = split
        p.grad = torch.randn(6, 4)
        muon.step()
    assert p.isfinite().all()


def test_parameters_without_gradient_are_left_alone() -> None:
    p, q = nn.Parameter(torch.randn(4, 4)), nn.Parameter(torch.randn(4, 4))
    before = q.detach().clone()
    p.grad = torch.randn(4, 4)
    Muon([p, q], lr=0.1).step()
    assert torch.equal(q, before)


def test_state_dict_round_trip_continues_bit_for_bit() -> None:
    p = nn.Parameter(torch.randn(4, 6))
    muon = Muon([p], lr=0.1)
    gradients = torch.randn(6, 4, 6)
    for g in gradients[:3]:
        p.grad = g
        muon.step()
    q = nn.Parameter(p.detach().clone())
    resumed = Muon([q], lr=0.5)
    resumed.load_state_dict(copy.deepcopy(muon.state_dict()))
    for g in gradients[3:]:
        p.grad = q.grad = g
        muon.step()
        resumed.step()
    assert torch.equal(p, q)


def test_copies_and_pickles_step_alike() -> None:
    p = nn.Parameter(torch.randn(4, 6))
    muon = Muon([p], lr=0.1, orthogonalize=exact, padded=True)
    copies = [copy.deepcopy(muon), pickle.loads(pickle.dumps(muon))]
    p.grad = torch.randn(4, 6)
    muon.step()
    for other in copies:
        (q,) = other.param_groups[0]["params"]
        q.grad = p.grad.clone()
        other.step()
        assert torch.equal(p, q)


def test_a_sparse_gradient_is_refused() -> None:
    table = nn.Embedding(5, 4, sparse=True)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(ValueError, match="sparse gradient"):
        Muon(table.parameters(), nesterov=False).step()


def test_momentum_matrices_are_what_is_orthogonalised() -> None:
    seen: list[Tensor] = []

    def spy(m: Tensor) -> Tensor:
        seen.append(m)
        return m

    for flatten in ("out", "in", "position"):
        p = nn.Parameter(torch.randn(4, 3, 2, 2))
        p.grad = torch.randn_like(p)
        muon = Muon([p], nesterov=False, flatten=flatten, orthogonalize=spy)
        muon.step()
        ((of, matrices),) = muon.momentum_matrices()
        assert of is p
        assert torch.equal(matrices, seen[-1][0])


def test_a_state_saved_before_a_setting_existed_is_accepted() -> None:
    p = nn.Parameter(torch.randn(4, 6))
    state = Muon([p], lr=0.1).state_dict()
    del state["param_groups"][0]["flatten"]
    resumed = Muon([p], lr=0.5, flatten="in")
    resumed.load_state_dict(state)
    assert resumed.param_groups[0]["flatten"] == "in"
    assert resumed.param_groups[0]["lr"] == 0.1


def test_closure_is_called_with_gradients_on() -> None:
    p = nn.Parameter(torch.randn(3, 3))
    muon = Muon([p], lr=0.1)

    def closure() -> Tensor:
        muon.zero_grad()
        loss = (p**2).sum()
        loss.backward()
        return loss

    before = closure().item()
    assert muon.step(closure).item() == pytest.approx(before)
    assert (p**2).sum().item() < before


@pytest.mark.parametrize(
    "bad", [torch.zeros(3), torch.zeros(3, 3, dtype=torch.complex64), torch.zeros(3, 3).to_sparse()]
)
def test_what_is_no_dense_real_matrix_is_refused(bad: Tensor) -> None:
    with pytest.raises(ValueError, match="not a dense real matrix"):
        Muon([nn.Parameter(bad)])


@pytest.mark.parametrize(
    "config",
    [
        {"lr": -1.0},
        {"momentum": 1.0},
        {"weight_decay": -1.0},
        {"max_update_norm": 0.0},
        {"flatten": "sideways"},
        {"adjust_lr": "more"},
        {"momentum_convention": "product"},
    ],
)
def test_a_config_out_of_range_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="out of range"):
        Muon([nn.Parameter(torch.zeros(2, 2))], **config)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("none", [False, True], ids=["newton_schulz", "none"])
def test_a_sum_of_gradients_in_float16_does_not_overflow(nesterov: bool, none: bool) -> None:
    """Gradients of 60,000 with momentum 0.95 add up to 1.2 million, which float16 does not have."""
    gradients = [60000 * torch.randn(8, 12, generator=torch.Generator().manual_seed(i)).clamp(-1, 1) for i in range(40)]
    orthogonalize = unchanged if none else in_float32
    weights = {}
    for dtype in (torch.float16, torch.float64):
        p = nn.Parameter(torch.zeros(8, 12, dtype=dtype))
        lr = 1e-6 if none else 0.01
        muon = Muon([p], lr=lr, momentum=0.95, nesterov=nesterov, orthogonalize=orthogonalize)
        for gradient in gradients:
            p.grad = gradient.half().to(dtype)
            muon.step()
        weights[dtype] = p.detach().double()
    assert weights[torch.float16].isfinite().all()
    difference = (weights[torch.float16] - weights[torch.float64]).norm() / weights[torch.float64].norm()
    assert difference < 0.02


in_float32 = partial(newton_schulz, dtype=torch.float32)


def test_parameters_without_elements_and_on_other_devices_are_stepped_like_the_rest() -> None:
    """The update of each is what it is alone; one without elements stays as it is, as in PyTorch's optimizers."""

    def parameters() -> list[torch.nn.Parameter]:
        generator = torch.Generator().manual_seed(0)
        found = []
        for device, shape in (("cpu", (4, 6)), ("cpu", (0, 6)), ("meta", (4, 6)), ("cpu", (4, 6))):
            value = torch.randn(shape, generator=generator)
            p = torch.nn.Parameter(value.to(device))
            p.grad = torch.ones_like(p) * torch.arange(6.0, device=device)
            found.append(p)
        return found

    together = parameters()
    optimizer = Muon(together, lr=0.1)
    for _ in range(3):
        optimizer.step()
    assert together[1].shape == (0, 6)
    for index in (0, 3):
        alone = parameters()[index]
        one = Muon([alone], lr=0.1)
        for _ in range(3):
            one.step()
        torch.testing.assert_close(together[index], alone)
