"""A subset of the training images, from a file."""

from pathlib import Path

import numpy as np
import pytest

from airbench.data.dataset import Dataset
from airbench.data.subset import read_subset
from airbench.device import Machine
from airbench.errors import DataError, RecipeError
from airbench.training.setup import TrialSetup
from tests.conftest import tiny


@pytest.mark.parametrize("suffix", [".txt", ".npy"])
def test_only_the_listed_images_are_trained_on(
    suffix: str, small_shapes: Dataset, cpu: Machine, tmp_path: Path
) -> None:
    chosen = np.random.default_rng(0).permutation(400)[:120]
    file = tmp_path / f"mine{suffix}"
    if suffix == ".txt":
        np.savetxt(file, chosen, fmt="%d")
    else:
        np.save(file, chosen.astype(np.int32))
    setup = TrialSetup(tiny("airbench94_muon", f"data.subset={file}").recipe, small_shapes, cpu)
    chosen.sort()  # the order of the list means nothing
    assert np.array_equal(setup.train.images.numpy(), small_shapes.train.images[chosen])
    assert np.array_equal(setup.train.labels.numpy(), small_shapes.train.labels[chosen])
    assert setup.total_steps == 2 * (120 // 50)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1\n400\n", r"there is no training image 400: they are 0 to 399"),
        ("-1\n", "there is no training image -1"),
        ("5\n7\n5\n", "image 5 is listed 2 times"),
        ("1.5\n", "not a list of positions .* give one whole number per line"),
        ("", r"give a list of whole numbers"),
    ],
)
def test_a_list_that_does_not_fit_is_refused_in_one_line(text: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text(text)
    with pytest.raises(DataError, match=why):
        read_subset(str(tmp_path / "mine.txt"), 400)


def test_a_missing_or_foreign_file_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_subset(str(tmp_path / "none.txt"), 400)
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(DataError, match="not a list of positions"):
        read_subset(str(tmp_path / "objects.npy"), 400)
    np.save(tmp_path / "mask.npy", np.ones(400, bool))
    with pytest.raises(DataError, match="bool of shape"):
        read_subset(str(tmp_path / "mask.npy"), 400)


def test_a_subset_and_a_number_of_images_contradict_each_other() -> None:
    with pytest.raises(RecipeError, match="train_images and subset both choose"):
        tiny("airbench94_muon", "data.subset=x.txt", "data.train_images=100")
