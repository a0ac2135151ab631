"""The airbench package's functions: each is the recipe, bit for bit."""

import inspect
from functools import partial

import pytest
import torch
from torch import nn

import airbench
from airbench.api import classic
from airbench.api.trial import TrainedTrial
from airbench.data.dataset import Dataset
from airbench.errors import AirbenchError, RecipeError
from airbench.recipe.engine import Engine
from tests.conftest import TINY

SHRINK = ("net.widths=[4, 8, 8]", "net.whiten.images=100", "train.stall_epochs=99")
AUG = {"flip": True, "translate": 2}


@pytest.fixture(autouse=True)
def small(small_shapes: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """CIFAR-10 is the small built-in images, recipes have narrow nets, and no training is kept from other tests."""
    monkeypatch.setattr("airbench.api.loader.load_dataset", lambda data: small_shapes)
    monkeypatch.setattr("airbench.api.classic.load_dataset", lambda data: small_shapes)
    monkeypatch.setattr("airbench.api.trial.load_dataset", lambda data: small_shapes)
    monkeypatch.setattr(
        "airbench.api.classic.load_recipe", lambda name: airbench.load_recipe(name, *SHRINK, *ENGINE, BATCH)
    )
    monkeypatch.setattr("airbench.api.loader.Engine", partial(Engine, precision="fp32"))
    monkeypatch.setattr("airbench.api.classic._kept", {})


ENGINE = ("engine.device=cpu", "engine.precision=fp32")
BATCH = "train.batch_size=50"


def loader(**settings: object) -> airbench.CifarLoader:
    return airbench.CifarLoader("nowhere", device="cpu", **{"batch_size": 50, "aug": AUG, "altflip": True, **settings})


def by_recipe(name: str, *overrides: str, seed: int = 7) -> TrainedTrial:
    return airbench.train(airbench.load_recipe(name, *SHRINK, *ENGINE, BATCH, *overrides), seed=seed)


def same(net: nn.Module, other: nn.Module) -> bool:
    pairs = zip(net.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("number", [93, 94, 95])
def test_without_arguments_it_is_the_recipe(number: int) -> None:
    """The defaults of each function are those of the YAML file: the same recipe, up to spelling."""
    function = getattr(classic, f"train{number}")
    given = {name: p.default for name, p in inspect.signature(function).parameters.items()}
    recipe = classic.load_recipe(f"airbench{number}")
    assert classic.classic_recipe(f"airbench{number}", given) == recipe


@pytest.mark.parametrize("with_loader", [False, True])
def test_a_training_is_that_of_the_recipe_bit_for_bit(with_loader: bool) -> None:
    expected = by_recipe("airbench94", "train.epochs=2")
    net = airbench.train94(loader() if with_loader else None, epochs=2, seed=7, verbose=False)
    assert same(net, expected.net)


def test_train96_has_cutout_and_its_own_schedule() -> None:
    expected = by_recipe("airbench96", "train.epochs=1")
    aug = {"flip": True, "translate": 4, "cutout": 12}
    assert same(airbench.train96(epochs=1, seed=7, verbose=False), expected.net)
    assert same(airbench.train96(loader(aug=aug), epochs=1, seed=7, verbose=False), expected.net)


def test_arguments_reach_the_recipe() -> None:
    words = [f"optimizers.{group}.{key}" for group in ("filters", "head", "biases", "whiten_bias")
             for key in ("lr=5", "momentum=0.8", "weight_decay=0.01")]  # fmt: skip
    words += ["optimizers.biases.lr_scale=32", "optimizers.whiten_bias.train_epochs=1", "train.label_smoothing=0.1"]
    expected = by_recipe("airbench94", "train.epochs=2", "evaluate.tta=[mirror]", *words)
    net = airbench.train94(
        epochs=2, label_smoothing=0.1, learning_rate=5, bias_scaler=32, momentum=0.8, weight_decay=0.01,
        whiten_bias_epochs=1, tta_level=1, seed=7, verbose=False,
    )  # fmt: skip
    assert same(net, expected.net)
    with pytest.raises(RecipeError, match="label_smoothing"):
        airbench.train94(label_smoothing=2)


def test_each_training_returns_a_net_of_its_own_and_the_seed_follows_pytorch() -> None:
    torch.manual_seed(3)
    first = airbench.train94(epochs=1, verbose=False)
    kept = {name: value.clone() for name, value in first.state_dict().items()}
    second = airbench.train94(epochs=1, verbose=False)
    assert not same(first, second)
    assert all(torch.equal(kept[name], value) for name, value in first.state_dict().items())
    torch.manual_seed(3)
    assert same(first, airbench.train94(epochs=1, verbose=False))


def test_infer_and_evaluate_agree_with_the_trial(capsys: pytest.CaptureFixture[str]) -> None:
    expected = by_recipe("airbench94", "train.epochs=2")
    net = airbench.train94(epochs=2, seed=7, run="one")
    test = loader(train=False, aug=None, altflip=False)
    torch.testing.assert_close(airbench.infer(net, test, tta_level=2), expected.logits, rtol=1e-4, atol=1e-4)
    assert airbench.evaluate(net, test, tta_level=2) == pytest.approx(expected.accuracy)
    assert airbench.evaluate(net, test) == pytest.approx(expected.result.plain_accuracy)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["run", "epoch", "train_loss", "train_acc", "val_acc", "tta_val_acc", "total_time_seconds"]
    assert rows[1][:2] == ["one", "1"]
    assert rows[-1][0] == "eval"
    assert float(rows[-1][2]) == pytest.approx(expected.accuracy, abs=1e-4)


def test_warmup_trains_nothing_and_is_remembered() -> None:
    airbench.warmup94()
    (setup,) = classic._kept.values()
    airbench.train94(verbose=False, epochs=9.9, seed=0)
    assert list(classic._kept.values()) == [setup]


class Own(nn.Module):
    def __init__(self, norms: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=4)
        self.norm = nn.BatchNorm2d(4) if norms else nn.Identity()
        self.out = nn.Linear(4 * 8 * 8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.norm(self.conv(x)).relu().flatten(1)) / 9


@pytest.mark.parametrize("norms", [True, False])
def test_a_net_of_ones_own_is_trained_and_returned(norms: bool) -> None:
    made: list[nn.Module] = []

    def make() -> nn.Module:
        torch.manual_seed(0)
        made.append(Own(norms))
        return made[-1]

    net = airbench.train94(loader(), epochs=3, make_net=make, seed=1, verbose=False)
    assert net is made[0]
    untrained = make()
    test = loader(train=False, aug=None, altflip=False)
    before, after = (airbench.evaluate(each, test) for each in (untrained, net))
    assert after > before


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_net_is_evaluated_in_its_own_precision(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airbench.api.loader.Engine", partial(Engine, precision=precision))
    test, net = loader(train=False, aug=None), Own(norms=True).eval()
    expected = airbench.infer(net, test)
    half = airbench.infer(net.to(torch.bfloat16), test)
    assert expected.dtype == half.dtype == torch.float32
    torch.testing.assert_close(half, expected, rtol=0.05, atol=0.02)
    assert not torch.equal(half, expected)


@pytest.mark.parametrize("level", [-1, 3])
def test_a_level_of_augmentation_that_does_not_exist_is_refused(level: int) -> None:
    with pytest.raises(RecipeError, match=f"tta_level = {level}: give 0, 1 or 2"):
        airbench.evaluate(nn.Identity(), None, level)  # type: ignore[arg-type]


def test_an_argument_without_effect_on_a_net_of_ones_own_is_refused() -> None:
    said = "whiten_bias_epochs = 2: no effect, since the net of make_net has no whitening bias"
    with pytest.raises(RecipeError, match=said):
        airbench.train94(loader(), whiten_bias_epochs=2, make_net=lambda: Own(norms=True))
    with pytest.raises(RecipeError, match=r'bias_scaler = 8: no effect, since .* no trainable parameter with "norm"'):
        airbench.train94(loader(), bias_scaler=8, make_net=lambda: Own(norms=False))
    airbench.train94(loader(), bias_scaler=8, make_net=lambda: Own(norms=True), run="warmup")


def test_the_four_functions_have_the_defaults_that_the_refusal_assumes() -> None:
    for train in (airbench.train93, airbench.train94, airbench.train95, airbench.train96):
        defaults = inspect.signature(train).parameters
        assert (defaults["whiten_bias_epochs"].default, defaults["bias_scaler"].default) == (3, 64.0)


def test_batches_are_the_recipes_batches(small_shapes: Dataset) -> None:
    """Iterating shows what the training of the same seed is shown, image by image."""
    from airbench.device import Machine
    from airbench.training.results import TrialSeeds
    from airbench.training.setup import TrialSetup

    recipe = airbench.load_recipe("airbench94", *TINY)
    setup = TrialSetup(recipe, small_shapes, Machine(torch.device("cpu"), torch.float32))
    own = loader(seed=5)
    theirs = setup.new_loader(TrialSeeds(5, 5, 5))
    assert len(own) == 8
    for _ in range(3):
        for (images, labels), batch in zip(own, theirs.epoch(), strict=True):
            assert torch.equal(images, batch.images)
            assert torch.equal(labels, batch.targets)


def test_test_images_come_in_order_and_whole(small_shapes: Dataset) -> None:
    test = loader(train=False, aug=None, altflip=False, batch_size=30)
    assert len(test) == 4
    images, labels = (torch.cat(parts) for parts in zip(*test, strict=True))
    assert torch.equal(labels, torch.from_numpy(small_shapes.test.labels).long())
    torch.testing.assert_close(images, test.normalize(test.images))
    assert test.images.min() >= 0
    assert test.images.max() <= 1
    assert test.classes == small_shapes.classes
    kept = loader(train=True, drop_last=False, batch_size=60, aug=None)
    assert [len(labels) for _, labels in kept] == [60] * 6 + [40]
    assert len(kept) == 7


def test_looking_at_the_images_changes_nothing() -> None:
    looked, other = loader(seed=1), loader(seed=1)
    assert looked.images.shape == (400, 3, 32, 32)
    for (a, _), (b, _) in zip(looked, other, strict=True):
        assert torch.equal(a, b)


def test_images_and_labels_may_be_replaced_before_iterating_and_not_after() -> None:
    own = loader(aug=None, shuffle=False)
    grey = own.images.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    own.images, own.labels = grey[:100], torch.arange(100) % 3
    assert len(own) == 2
    images, labels = (torch.cat(parts) for parts in zip(*own, strict=True))
    torch.testing.assert_close(images, own.normalize(grey[:100]), rtol=1e-5, atol=1e-5)
    assert torch.equal(labels, torch.arange(100) % 3)
    with pytest.raises(AirbenchError, match=r"loader\.images cannot be replaced after iteration has begun"):
        own.images = grey
    with pytest.raises(AirbenchError, match=r"loader\.labels cannot"):
        own.labels = torch.zeros(100)
    own.epoch = 0
    own.labels = torch.zeros(100, dtype=torch.int64)
    short = loader(aug=None)
    short.labels = torch.zeros(7, dtype=torch.int64)
    with pytest.raises(AirbenchError, match="400 images but 7 labels"):
        next(iter(short))


def test_replaced_labels_are_trained_on() -> None:
    own = loader()
    own.labels = torch.zeros(400, dtype=torch.int64)
    net = airbench.train94(own, epochs=4, seed=0, verbose=False)
    logits = airbench.infer(net, loader(train=False, aug=None))
    assert (logits.argmax(1) == 0).all()


def test_what_does_not_fit_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="aug has rotate; it may have flip, translate, cutout"):
        loader(aug={"rotate": 3})
    with pytest.raises(ValueError, match="pixels"):
        loader(aug={"translate": -1})
    with pytest.raises(ValueError, match="batch_size = 0"):
        loader(batch_size=0)
    with pytest.raises(RecipeError, match="tta_level = 3: give 0, 1 or 2"):
        airbench.train94(loader(), tta_level=3)
    with pytest.raises(RecipeError, match="recipes shuffle the training images"):
        airbench.train94(loader(shuffle=False))
    own = loader()
    with pytest.raises(AirbenchError, match="give floats from 0 to 1, N×3×32×32"):
        own.images = (own.images * 255).byte()
    own.labels = own.labels + 5
    with pytest.raises(AirbenchError, match=r"class numbers must lie in 0\.\.9"):
        airbench.train94(own)


def test_a_loader_with_fewer_images_trains_for_as_many_epochs() -> None:
    """Also if a training on all of them is still warm."""
    own = loader()
    airbench.train94(own, epochs=2, seed=0, verbose=False)
    (before,) = own.trainings.values()
    own.images, own.labels = own.images[:150], own.labels[:150]
    airbench.train94(own, epochs=2, seed=0, verbose=False)
    (after,) = own.trainings.values()  # only the latest is kept
    assert (before.total_steps, after.total_steps) == (16, 6)


def test_an_epoch_that_is_broken_off_is_not_shown_again() -> None:
    own = loader()
    first, second = (next(iter(own)) for _ in range(2))
    assert not torch.equal(first[0], second[0])
    assert own.epoch == 2


def test_changing_images_in_place_counts_as_replacing_them() -> None:
    own, other = loader(seed=1), loader(seed=1)
    own.images.mul_(0.5)
    assert not torch.equal(next(iter(own))[0], next(iter(other))[0])
