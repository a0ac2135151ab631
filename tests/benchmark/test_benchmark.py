"""What is compared does the same; turns are taken fairly; a profile names every part. No test of speed."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from airbench.benchmark.bench import HEADER, bench_cells, crop_by_masks, run_bench
from airbench.benchmark.profile import profile_rows, profile_step
from airbench.benchmark.scaling import exponent, growth_cells, measure_growth
from airbench.benchmark.speedup import LABELS, measure_in_a_process, run_speedup
from airbench.benchmark.step import shape_of
from airbench.cli import main
from airbench.data.dataset import make_dataset
from airbench.data.transforms import ImageShape
from airbench.data.transforms.crop import crop
from airbench.device import Machine
from airbench.errors import AirbenchError
from airbench.kernels import kernels
from airbench.kernels.winograd import can_convolve
from airbench.recipe import load_recipe
from airbench.training.timing import Spread, interleaved, ratios
from tests.conftest import CONFIGS, TINY, tiny


def test_the_crops_slow_twin_crops_alike() -> None:
    padded = torch.randint(0, 256, (30, 12, 12, 3), dtype=torch.uint8)
    index, shift = torch.randperm(30)[:20], torch.randint(0, 5, (20, 2))
    assert torch.equal(crop_by_masks(padded, index, shift, 8), crop(padded, torch.cat([index[:, None], shift], 1), 8))


def test_works_take_turns_and_the_first_round_does_not_count() -> None:
    order: list[str] = []
    works = {"a": lambda: order.append("a"), "b": lambda: order.append("b")}
    taken = interleaved(works, torch.device("cpu"), repeats=3)
    assert "".join(order) == "ab" * 4
    assert {name: len(seconds) for name, seconds in taken.items()} == {"a": 3, "b": 3}


def test_quick_works_are_seen_more_often() -> None:
    taken = interleaved({"a": lambda: None}, torch.device("cpu"), repeats=3, min_seconds=0.01)
    assert len(taken["a"]) > 100


def test_ratios_are_taken_round_by_round() -> None:
    assert ratios([2.0, 8.0, 30.0], [1.0, 2.0, 10.0]) == Spread(3.0, 2.0, 4.0)


def test_a_profile_names_every_layer_the_loss_and_every_optimizer(cpu: Machine) -> None:
    recipe = tiny().recipe
    profile = profile_step(recipe, cpu, repeats=1)
    names = [part.name for part in profile.parts]
    assert names[0] == "whiten"
    for name in ("groups.0.conv1", "groups.2.norm2", "groups.1.norm1", "pool", "head", "loss", "Muon (filters)"):
        assert name in names
    assert {"SGD (whiten_bias)", "SGD (biases)", "SGD (head)"} <= set(names)
    by_name = {part.name: part for part in profile.parts}
    conv = by_name["groups.0.conv2"]
    assert conv.flop == 3 * 2 * 50 * 15 * 15 * 4 * 4 * 9  # 3 passes, batch 50, 15×15 pixels, 4 channels to 4, 3×3
    assert by_name["whiten"].flop == 2 * 50 * 31 * 31 * 24 * 12  # frozen: forward alone
    assert conv.seconds == conv.forward + conv.input_gradient + conv.weight_gradient
    assert math.isnan(by_name["whiten"].input_gradient)  # nobody needs it
    assert math.isnan(by_name["groups.0.norm1"].weight_gradient)
    rows = profile_rows(profile, 1.0)
    assert len(rows) == len(names) + 3
    assert len({len(row) for row in rows}) == 1


def test_bench_measures_every_row(cpu: Machine) -> None:
    rows = list(
        run_bench(tiny("airbench94_muon.yaml", "engine.winograd=4").recipe, cpu, batch_size=10, min_seconds=0.0)
    )
    convolutions = [row.work for row in rows if row.work.startswith("convolution")]
    if can_convolve(torch.zeros(10, 8, 7, 7).contiguous(memory_format=torch.channels_last), 8):
        # Those of the tiny net whose channels are multiples of 8, each shape once.
        assert convolutions == ["convolution: 10×8×7×7 to 8", "convolution: 10×8×3×3 to 8"]
    assert len(rows) - len(convolutions) == 5 + 4 * (kernels() is not None)  # and two more in half precision
    for row in rows:
        assert 0 < row.ratio.min <= row.ratio.median <= row.ratio.max
        assert len(bench_cells(row)) == len(HEADER)


def test_another_net_is_profiled_and_scaled(cpu: Machine) -> None:
    recipe = tiny("resnet18.yaml", "train.batch_size=8").recipe
    names = [part.name for part in profile_step(recipe, cpu, repeats=1).parts]
    assert names[0] == "conv"
    assert {"blocks.2.shortcut.0", "head", "loss", "SGD (all)"} <= set(names)
    widths = next(g for g in measure_growth(recipe, cpu, repeats=1) if g.thing == "width")
    assert widths.sizes == [1, 2, 4]


@pytest.mark.slow
def test_another_net_is_benched(cpu: Machine) -> None:
    recipe = tiny("resnet18.yaml").recipe
    works = [row.work for row in run_bench(recipe, cpu, batch_size=4, min_seconds=0.0)]
    assert "orthogonal factors, all filters" in works


def test_profile_writes_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airbench.benchmark.bench.measure_peak", lambda *_: {"fp32_tflops": 1.0, "copy_gbs": 1.0})
    file = tmp_path / "profile.json"
    recipe = str(CONFIGS / "records" / "airbench94_muon.yaml")
    assert main(["profile", recipe, *TINY, "--repeats", "1", "--json", str(file)]) == 0
    assert "a whole step" in capsys.readouterr().out
    numbers = json.loads(file.read_text())
    assert numbers["parts"][0]["name"] == "whiten"
    assert numbers["parts"][0]["input_gradient"] is None


def test_profile_of_two_recipes_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", str(CONFIGS / "records" / "airbench94.yaml"), str(CONFIGS / "quickstart.yaml")]) == 2
    assert "name one recipe" in capsys.readouterr().err


def test_the_exponent_of_a_power_law_is_found() -> None:
    sizes = [100, 200, 800]
    assert exponent(sizes, [3.0 * size**1.5 for size in sizes]) == pytest.approx(1.5)
    assert math.isnan(exponent([2, 2], [1.0, 2.0]))


def test_growth_is_measured_in_everything_and_the_threads_are_put_back(cpu: Machine) -> None:
    before = torch.get_num_threads()
    growths = {g.thing: g for g in measure_growth(tiny().recipe, cpu, repeats=1)}
    assert growths["batch size"].sizes == [6, 12, 25, 50]
    assert growths["width"].sizes == [1, 2, 4]
    assert growths["side of an image"].sizes == [32, 48, 64]
    assert torch.get_num_threads() == before
    for growth in growths.values():
        assert len(growth.sizes) == len(growth.seconds)
        assert len(growth_cells(growth)) == 3


def test_both_sides_of_a_speedup_are_measured_in_processes_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "speedup.json"
    few = [item for item in TINY if "epochs" not in item]
    recipe = [
        "speedup",
        str(CONFIGS / "records" / "airbench94_muon.yaml"),
        *few,
        "data.train_images=400",
        "train.epochs=1",
    ]
    assert main([*recipe, "--rounds", "1", "--json", str(file)]) == 0
    printed = capsys.readouterr().out
    assert "round 1 of 1, plain" in printed
    rows = json.loads(file.read_text())["rows"]
    assert [row["what"] for row in rows] == list(LABELS.values())
    for row in rows:
        assert row["plain"]["median"] > 0
        assert row["ratio"]["median"] == pytest.approx(row["plain"]["median"] / row["here"]["median"])


def test_a_speedup_on_another_device_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "airbench.benchmark.speedup.choose_machine", lambda *_: Machine(torch.device("mps"), torch.float16)
    )
    with pytest.raises(AirbenchError, match="use --device cpu"):
        list(run_speedup(tiny().recipe, 1, print))


def test_a_side_that_fails_says_why(tmp_path: Path) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text("optimizers: {}\n")
    with pytest.raises(AirbenchError, match=r"broken\.yaml"):
        measure_in_a_process(file, "plain")


def test_a_profile_is_of_the_recipes_own_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """The data set says what they are like; where it does not, they are read."""
    assert shape_of(load_recipe("quickstart").recipe) == ImageShape(32, 3, 10)
    assert shape_of(load_recipe("quickstart", ["data.name=cifar100"]).recipe) == ImageShape(32, 3, 100)
    split = (np.zeros((2, 48, 48, 1), np.uint8), np.arange(2))
    grey = make_dataset("folder", split, split, ("cat", "dog"), "photos")
    monkeypatch.setattr("airbench.benchmark.step.load_dataset", lambda data: grey)
    assert shape_of(load_recipe("quickstart", ["data.name=folder", "data.path=x"]).recipe) == ImageShape(48, 1, 2)
