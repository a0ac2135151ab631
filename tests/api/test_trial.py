"""Training from Python: the same trial as the command's, with what it trained."""

import copy
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import airbench
from airbench.api.trial import given_images
from airbench.cli import main
from airbench.data.dataset import Dataset
from airbench.data.photos import read_photos
from airbench.errors import AirbenchError, DataError, RecipeError
from airbench.training.callback import Callback
from airbench.training.results import EpochRow
from tests.conftest import TINY

WORDS = (*TINY, "train.epochs=1")


@pytest.fixture
def run(few_shapes: Dataset, tmp_path: Path) -> Path:
    """A run of two trials that keeps everything."""
    assert main(["train", "airbench94_muon", *WORDS, "--save", "both", "--trials", "2", "--out", str(tmp_path)]) == 0
    (folder,) = tmp_path.iterdir()
    return folder


def test_a_trial_is_that_of_the_command(few_shapes: Dataset, run: Path) -> None:
    trained = airbench.train(airbench.load_recipe("airbench94_muon", *WORDS), seed=1)
    line = json.loads((run / "trials.jsonl").read_text().splitlines()[1])
    assert line["accuracy"] == trained.accuracy
    assert line["epochs"][-1]["train_loss"] == trained.epochs[-1].train_loss
    with np.load(run / "trial-1-predictions.npz") as kept:
        assert np.array_equal(kept["logits"], trained.logits.numpy())
        assert np.array_equal(kept["labels"], few_shapes.test.labels)
        assert np.array_equal(kept["indices"], np.arange(100))
    assert (trained.logits.argmax(1) == trained.labels).float().mean().item() == pytest.approx(trained.accuracy)
    expected = nn.functional.cross_entropy(trained.logits, trained.labels, reduction="none")
    assert torch.equal(trained.losses, expected)
    assert torch.equal(trained.predict(few_shapes.test.images), trained.logits)


def test_kept_weights_are_the_trained_ones(few_shapes: Dataset, run: Path) -> None:
    trained = airbench.train(airbench.load_recipe("airbench94_muon", *WORDS), seed=0)
    net, trial = airbench.load_net(run)
    assert trial == 0
    assert torch.equal(net.logits(torch.from_numpy(few_shapes.test.images)), trained.logits)
    plain = torch.load(run / "trial-0-weights.pt", weights_only=True)
    assert plain["classes"] == list(few_shapes.classes)
    assert torch.equal(plain["weights"]["head.weight"], trained.net.state_dict()["head.weight"])


def test_an_isolated_trial_keeps_the_same(few_shapes: Dataset, run: Path, tmp_path: Path) -> None:
    from airbench.experiment.jobs import TrialJob
    from airbench.experiment.worker import Worker

    recipe = airbench.load_recipe("airbench94_muon", *WORDS, "engine.save=both")
    extras = list(Worker().train(TrialJob(recipe, 0, 0), Callback()))[1:]
    assert extras[0].value == (run / "trial-0-weights.pt").read_bytes()  # type: ignore[union-attr]


def test_predict_evaluates_a_run_again(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["predict", str(run), "--trial", "1"]) == 0
    line = json.loads((run / "trials.jsonl").read_text().splitlines()[1])
    plain, tta = capsys.readouterr().out.splitlines()
    assert f"{line['plain_accuracy']:.2%}, without" in plain
    assert f"{line['accuracy']:.2%}, as the recipe evaluates" in tta
    assert " of 100 test images, " in tta


def test_predict_says_that_images_were_held_out(
    few_shapes: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*WORDS, "data.held_out=60", "--save", "weights", "--out", str(tmp_path)]
    assert main(["train", "airbench94_muon", *words]) == 0
    capsys.readouterr()
    assert main(["predict", *map(str, tmp_path.iterdir())]) == 0
    assert all(" of 60 held-out images, " in line for line in capsys.readouterr().out.splitlines())


def test_predict_classifies_files_of_any_size(
    few_shapes: Dataset, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    (photos / "deep").mkdir(parents=True)
    for i, image in enumerate(few_shapes.test.images[:3]):
        Image.fromarray(image).save(photos / f"{i}.png")
    Image.fromarray(few_shapes.test.images[3]).resize((100, 80)).save(photos / "deep" / "large.jpg")
    (photos / "notes.txt").write_text("no image")
    capsys.readouterr()
    assert main(["predict", str(run), "--images", str(photos), "--csv", str(tmp_path / "p.csv")]) == 0
    rows = [line.split(",") for line in (tmp_path / "p.csv").read_text().splitlines()]
    assert rows[0] == ["image", "class", *few_shapes.classes]
    assert [Path(row[0]).name for row in rows[1:]] == ["0.png", "1.png", "2.png", "large.jpg"]
    net, _ = airbench.load_net(run)
    expected = net.logits(torch.from_numpy(few_shapes.test.images[:3])).softmax(1).numpy()
    np.testing.assert_allclose(np.array([row[2:] for row in rows[1:4]], float), expected, atol=1e-6)
    assert main(["predict", str(run), "--images", str(photos / "0.png")]) == 0
    printed = capsys.readouterr().out.splitlines()[-1].split()
    assert printed[1] == rows[1][1]


def test_predict_says_what_is_missing(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(run), "--trial", "5"]) == 2
    assert "no weights of trial 5; it has those of 0, 1; train with --save weights" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(["predict", str(run), "--images", str(tmp_path / "empty")]) == 2
    assert "no PNG or JPEG files" in capsys.readouterr().err
    (run / "trial-0-weights.pt").write_bytes(b"PK\x03\x04 damaged")
    assert main(["predict", str(run)]) == 2
    assert "not the weights of this run's net" in capsys.readouterr().err


def test_weights_that_do_not_fit_the_recipe_are_refused(run: Path) -> None:
    recipe = (run / "recipe.yaml").read_text()
    (run / "recipe.yaml").write_text(recipe.replace("widths: [4, 8, 8]", "widths: [4, 8, 12]"))
    with pytest.raises(AirbenchError, match="not the weights of this run's net"):
        airbench.load_net(run)


def test_nothing_is_kept_unless_asked(few_shapes: Dataset, tmp_path: Path) -> None:
    assert main(["train", "airbench94_muon", *WORDS, "--out", str(tmp_path)]) == 0
    assert not list(tmp_path.glob("*/trial-*"))


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2)
        self.norm = nn.BatchNorm2d(8)
        self.out = nn.Linear(8 * 15 * 15, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.norm(self.conv(x)).relu().flatten(1))


class Fails(Small):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise AssertionError("images of 224, please")


class Pair(Small):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x), x  # type: ignore[return-value]


def own_recipe(tmp_path: Path) -> airbench.load_recipe:  # type: ignore[valid-type]
    (tmp_path / "mine.yaml").write_text(
        "data: {name: shapes}\nengine: {device: cpu, precision: fp32}\nevaluate: {tta: []}\n"
        "train: {batch_size: 30, epochs: 4, label_smoothing: 0, stall_epochs: 99}\n"
        "optimizers: {all: {params: '*', name: sgd, lr: 0.001, momentum: 0.9}}\n"
    )
    return airbench.load_recipe(tmp_path / "mine.yaml")


def test_images_and_a_net_of_ones_own(tmp_path: Path) -> None:
    """Three colours, in the user's order; twice the same, since the net starts from the weights it came with."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 240)
    images = rng.integers(0, 100, (240, 32, 32, 3), dtype=np.uint8)
    images[np.arange(240), :, :, labels] += 100
    data = ((images[:180], labels[:180]), (torch.from_numpy(images[180:]).permute(0, 3, 1, 2), labels[180:]))
    rows: list[EpochRow] = []

    class Rows(Callback):
        def on_epoch(self, row: EpochRow) -> None:
            rows.append(row)

    torch.manual_seed(0)
    net = Small()
    start = {name: value.clone() for name, value in net.state_dict().items()}
    trained = airbench.train(own_recipe(tmp_path), data=data, net=net, seed=3, callbacks=[Rows()])
    assert trained.net is net
    assert trained.accuracy == 1.0
    assert torch.equal(trained.labels, torch.from_numpy(labels[180:]))
    assert len(rows) == 4
    assert trained.predict(images[:2]).shape == (2, 3)
    again = Small()
    again.load_state_dict(start)
    assert torch.equal(airbench.train(own_recipe(tmp_path), data=data, net=again, seed=3).logits, trained.logits)


@pytest.mark.parametrize(
    ("train", "why"),
    [
        ((np.zeros((9, 8, 8, 3), np.float32), np.zeros(9, int)), "float32 of shape .* give uint8"),
        ((np.zeros((9, 8, 8, 3), np.uint8), np.zeros(8, int)), "9 images but 8 labels"),
        ((np.zeros((9, 8, 6, 3), np.uint8), np.zeros(9, int)), "square"),
        ((np.zeros((9, 8, 8, 3), np.uint8), np.zeros(9)), "labels are float64"),
    ],
)
def test_images_that_do_not_fit_are_refused(train: tuple[np.ndarray, np.ndarray], why: str, tmp_path: Path) -> None:
    test = np.zeros((5, 8, 8, 3), np.uint8), np.zeros(5, int)
    with pytest.raises(DataError, match=why):
        airbench.train(own_recipe(tmp_path), data=(train, test), net=Small())


@pytest.mark.parametrize("method", ["newton_schulz", "svd", "inverse_sqrt"])
def test_orthogonalize_by_name(method: str) -> None:
    matrix = torch.randn(5, 8, generator=torch.Generator().manual_seed(0)).double()
    settings: dict[str, object] = {}
    if method == "newton_schulz":
        settings = {"steps": 12, "coefficients": "classical_quintic", "dtype": "float32"}
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    torch.testing.assert_close(airbench.orthogonalize(matrix, method, **settings), u @ v, rtol=0, atol=0.02)
    with pytest.raises(RecipeError, match=r"orthogonalize: .*stepz"):
        airbench.orthogonalize(matrix, stepz=3)


def test_a_second_training_goes_on_from_the_weights_of_the_first(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = ((rng.integers(0, 256, (90, 32, 32, 3), dtype=np.uint8), np.arange(90) % 3),) * 2
    net = Small()
    first = airbench.train(own_recipe(tmp_path), data=data, net=net)
    assert "reset" not in vars(net)
    second = airbench.train(own_recipe(tmp_path), data=data, net=net)
    assert second.epochs[0].train_loss < first.epochs[0].train_loss


def test_a_net_is_left_as_trainable_as_it_was(tmp_path: Path) -> None:
    """A frozen group is trainable again, also after a failure; what the user froze stays frozen."""
    rng = np.random.default_rng(0)
    data = ((rng.integers(0, 256, (90, 32, 32, 3), dtype=np.uint8), np.arange(90) % 3),) * 2
    own_recipe(tmp_path)
    first = "optimizers.first={params: 'conv*', name: sgd, lr: 0.001, train_epochs: 1}"
    recipe = airbench.load_recipe(tmp_path / "mine.yaml", first, "train.epochs=2")
    net = Small()
    net.norm.bias.requires_grad_(False)
    start = {name: p.requires_grad for name, p in net.named_parameters()}
    for _ in range(2):
        airbench.train(recipe, data=data, net=net)
        assert {name: p.requires_grad for name, p in net.named_parameters()} == start
    with pytest.raises(AirbenchError, match="try a lower lr"):
        airbench.train(
            airbench.load_recipe(tmp_path / "mine.yaml", first, "optimizers.all.lr=1e20"), data=data, net=net
        )
    assert {name: p.requires_grad for name, p in net.named_parameters()} == start


def test_groups_may_all_have_an_end_but_not_all_before_the_training(tmp_path: Path) -> None:
    data = ((np.zeros((90, 32, 32, 3), np.uint8), np.arange(90) % 3),) * 2
    own_recipe(tmp_path)
    words = ("train.epochs=1.5", "optimizers.all.train_epochs")
    for epochs in (1.5, 4):  # 1.5 epochs are 5 steps of 30 images, of which none is frozen
        recipe = airbench.load_recipe(tmp_path / "mine.yaml", words[0], f"{words[1]}={epochs}")
        airbench.train(recipe, data=data, net=Small())
    recipe = airbench.load_recipe(tmp_path / "mine.yaml", words[0], f"{words[1]}=1")
    with pytest.raises(RecipeError, match="freezes every group before the end"):
        airbench.train(recipe, data=data, net=Small())


def test_images_of_ones_own_are_held_out_too_the_last_ones_in_their_order(tmp_path: Path, few_shapes: Dataset) -> None:
    images = np.random.default_rng(0).integers(0, 256, (90, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(90) % 3
    data = ((images, labels), (np.zeros((6, 32, 32, 3), np.uint8), np.arange(6) % 3))
    own_recipe(tmp_path)
    recipe = airbench.load_recipe(tmp_path / "mine.yaml", "data.held_out=20", "train.epochs=1")
    trained = airbench.train(recipe, data=data, net=Small())
    assert torch.equal(trained.labels, torch.from_numpy(labels[-20:]))
    held = airbench.load_images(recipe)
    again = given_images(held, recipe)
    assert again is held
    assert (len(held.test), len(held.train)) == (20, len(few_shapes.train) - 20)
    with pytest.raises(DataError, match=r"data\.held_out = 20: of the images given, 10 are held out already"):
        given_images(few_shapes.hold_out(10), recipe)


@pytest.mark.parametrize(
    ("net", "why"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(3072, 2)), r"output for 2 images is \(2, 2\); .* must be \(2, 3\)"),
        (nn.Sequential(nn.Flatten(), nn.Linear(100, 3)), r"the net does not take 3×32×32 images"),
        (Fails(), r"the net does not take 3×32×32 images: AssertionError: images of 224, please"),
        (Pair(), r"the net's output is of type tuple: it must be a tensor of logits"),
    ],
)
def test_a_net_that_does_not_fit_is_refused_in_one_line(net: nn.Module, why: str, tmp_path: Path) -> None:
    data = ((np.zeros((90, 32, 32, 3), np.uint8), np.arange(90) % 3),) * 2
    with pytest.raises(AirbenchError, match=why):
        airbench.train(own_recipe(tmp_path), data=data, net=net)
    assert "reset" not in vars(net)  # nothing of ours is left on it


def test_what_dropout_draws_is_decided_by_the_seed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = ((rng.integers(0, 256, (90, 32, 32, 3), dtype=np.uint8), np.arange(90) % 3),) * 2
    own_recipe(tmp_path)
    recipe = airbench.load_recipe(tmp_path / "mine.yaml", "seeds.init=0", "seeds.order=0")  # dropout's alone varies
    net = nn.Sequential(nn.Dropout(0.5), Small())
    start = copy.deepcopy(net.state_dict())

    def logits(seed: int) -> torch.Tensor:
        net.load_state_dict(start)
        return airbench.train(recipe, data=data, net=net.float(), seed=seed).logits

    first = logits(0)
    torch.manual_seed(7)
    state = torch.get_rng_state()
    assert torch.equal(logits(0), first)
    assert torch.equal(torch.get_rng_state(), state)  # the user's own random numbers go on where they were
    assert not torch.equal(logits(1), first)


def test_what_the_command_would_print_is_a_warning(few_shapes: Dataset) -> None:
    words = (*WORDS, "engine.precision=bf16", "optimizers.filters.weight_decay=0.001")
    with pytest.warns(UserWarning, match="filters: weight decay, .* is lost to rounding"):
        trained = airbench.train(airbench.load_recipe("airbench94_muon", *words))
    assert trained.execution.compile == "none"


def test_a_training_that_fails_raises_an_error_of_airbench(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (90, 32, 32, 3), dtype=np.uint8)
    data = ((images, np.arange(90) % 3),) * 2
    recipe = airbench.load_recipe(tmp_path / "mine.yaml" if own_recipe(tmp_path) else "", "optimizers.all.lr=1e19")
    failed: list[str] = []

    class Failed(Callback):
        def on_fail(self, reason: str) -> None:
            failed.append(reason)

    net = Small()
    with pytest.raises(AirbenchError, match="try a lower lr") as caught:
        airbench.train(recipe, data=data, net=net, callbacks=[Failed()])
    assert failed == [str(caught.value)]
    assert "reset" not in vars(net)
    with pytest.raises(RecipeError, match="give overrides one by one"):
        airbench.load_recipe("quickstart", ["train.epochs=4"])  # type: ignore[arg-type]


def test_images_of_another_kind_are_not_classified_silently(run: Path, few_shapes: Dataset) -> None:
    net, _ = airbench.load_net(run)
    images = few_shapes.test.images[:3]
    assert torch.equal(net.logits(images.transpose(0, 3, 1, 2)), net.logits(images))
    with pytest.raises(DataError, match="give uint8"):
        net.logits(images / 255)
    with pytest.raises(DataError, match="this net takes 32×32×3"):
        net.logits(images[:, :16, :16])


def test_a_run_in_a_precision_that_is_not_here_is_loaded_all_the_same(run: Path) -> None:
    recipe = (run / "recipe.yaml").read_text()
    (run / "recipe.yaml").write_text(recipe.replace("precision: fp32", "precision: fp16"))
    net, _ = airbench.load_net(run, device="cpu")
    assert net.machine.dtype != torch.float16


def test_photos_as_phones_and_programs_leave_them(tmp_path: Path) -> None:
    """Turned by a note in the file, with transparency, of 16 bits, and not square."""
    half = np.zeros((32, 32, 3), np.uint8)
    half[:, :16] = 255
    turned = Image.fromarray(half)
    exif = turned.getexif()
    exif[274] = 6  # to be shown turned by 90 degrees
    turned.save(tmp_path / "a.png", exif=exif)
    Image.fromarray(np.zeros((32, 32, 4), np.uint8)).save(tmp_path / "b.png")
    Image.fromarray(np.full((32, 32), 40000, np.uint16)).save(tmp_path / "c.png")
    wide = np.zeros((32, 96, 3), np.uint8)
    wide[:, 32:64] = 200
    Image.fromarray(wide).save(tmp_path / "d.png")
    _, images = read_photos([tmp_path], 32, 3)
    assert (images[0, :16] == 255).all()
    assert (images[0, 16:] == 0).all()
    assert (images[1] == 255).all()
    assert images[2].unique().tolist() == [40000 // 257]
    assert (images[3] == 200).float().mean() > 0.95


def test_names_of_files_cannot_write_to_the_terminal(
    run: Path, few_shapes: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = tmp_path / "\x1b[31mred\udcff.png"
    Image.fromarray(few_shapes.test.images[0]).save(photo)
    assert main(["predict", str(run), "--images", str(photo)]) == 0
    assert "\x1b" not in capsys.readouterr().out
    assert main(["predict", str(run), "--images", str(photo), "--csv", str(tmp_path / "p.csv")]) == 0
    assert "red?.png" in (tmp_path / "p.csv").read_text()


IMAGES = (np.zeros((60, 32, 32, 3), np.uint8), np.zeros(60, np.int64))


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"data": (IMAGES,)}, "data: give"),
        ({"data": 5}, "data: give"),
        ({"data": IMAGES}, "data: each of its two parts is a pair"),
        ({"seed": -1}, "seed = -1: give an integer from 0"),
        ({"seed": "a"}, "seed = 'a': give an integer"),
        ({"seed": 1.5}, "seed = 1.5: give an integer"),
        ({"seed": 2**70}, f"seed = {2**70}: give an integer from 0 to"),
        ({"net": nn.Linear}, "net is of type type: give a torch.nn.Module, made already"),
        ({"callbacks": [print]}, "callbacks: give a list"),
        ({"callbacks": 5}, "callbacks: give a list"),
    ],
)
def test_what_is_given_in_python_is_refused_in_one_line(given: dict[str, object], why: str) -> None:
    with pytest.raises(AirbenchError) as caught:
        airbench.train(airbench.load_recipe("airbench94_muon", *TINY), **{"data": (IMAGES, IMAGES), **given})  # type: ignore[arg-type]
    assert str(caught.value).startswith(why)
    assert "\n" not in str(caught.value)


def test_a_recipe_is_a_name_or_a_file() -> None:
    with pytest.raises(RecipeError, match="NoneType: give the name of a recipe"):
        airbench.train(None)  # type: ignore[arg-type]


def test_a_seed_of_numpys_is_a_seed_and_a_trial_is_shown_in_a_line(few_shapes: Dataset) -> None:
    recipe = airbench.load_recipe("airbench94_muon", *WORDS)
    mine, numpys = airbench.train(recipe, seed=3), airbench.train(recipe, seed=np.int64(3))  # type: ignore[arg-type]
    assert torch.equal(mine.logits, numpys.logits)
    assert repr(mine).startswith(f"TrainedTrial({mine.accuracy:.2%} in ")
    assert len(repr(mine)) < 120


@pytest.mark.parametrize("matrices", [torch.zeros(5), torch.zeros(5, 5, dtype=torch.int32), np.zeros((5, 5))])
def test_what_is_no_matrix_is_refused(matrices: object) -> None:
    for factor in (airbench.orthogonalize, airbench.newton_schulz):
        with pytest.raises(ValueError, match=r"^matrices: .*give a tensor \(\.\.\., m, n\) of floating-point numbers"):
            factor(matrices)


def test_matrices_without_elements_stay_so_and_settings_are_checked() -> None:
    for factor in (airbench.orthogonalize, airbench.newton_schulz):
        assert factor(torch.zeros(2, 0, 5)).shape == (2, 0, 5)
    with pytest.raises(ValueError, match="steps = -1: give 0 or more"):
        airbench.newton_schulz(torch.zeros(5, 5), steps=-1)
    with pytest.raises(RecipeError, match=r"^orthogonalize: method = 'foo': give one of 'newton_schulz'"):
        airbench.orthogonalize(torch.zeros(5, 5), "foo")
    with pytest.raises(RecipeError, match=r"^orthogonalize: coefficients = \[\[1, 2\]\]: give three numbers"):
        airbench.orthogonalize(torch.zeros(5, 5), coefficients=[[1, 2]])
    with pytest.raises(RecipeError, match=r"^orthogonalize: split = 3: it must divide the 5 rows"):
        airbench.orthogonalize(torch.zeros(5, 5), split=3)
    stacked = torch.randn(2, 12, 8, generator=torch.Generator().manual_seed(0))
    parts = [airbench.orthogonalize(part, dtype="float32") for part in stacked.chunk(3, dim=1)]
    torch.testing.assert_close(airbench.orthogonalize(stacked, split=3, dtype="float32"), torch.cat(parts, 1))
    with pytest.raises(RecipeError, match=r"^orthogonalize: steps = -1: "):
        airbench.orthogonalize(torch.zeros(5, 5), steps=-1)


def test_predict_says_that_images_are_not_those_of_the_run(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(run, tmp_path / "copy")
    facts = json.loads((copy / "run.json").read_text())
    facts["data"]["test_fingerprint"] = "0" * 64
    (copy / "run.json").write_text(json.dumps(facts))
    assert main(["predict", str(copy), "--no-tta"]) == 0
    assert "which are not those of the run" in capsys.readouterr().out
    assert main(["predict", str(run), "--images", "x.png", "--data", "y"]) == 2
    assert "with --images leave it out" in capsys.readouterr().err
