"""The catalog says of each data set what readers and recipes rely on."""

import subprocess
import sys

import pytest

from airbench.data.catalog import DatasetSpec
from airbench.data.shapes import SHAPES, SIDE
from airbench.errors import RecipeError
from airbench.recipe.data import DATASETS, Data
from tests.conftest import tiny


def test_a_recipe_may_name_every_data_set_and_no_other() -> None:
    assert Data.model_json_schema()["properties"]["name"]["enum"] == list(DATASETS)


@pytest.mark.parametrize("spec", DATASETS.values(), ids=lambda spec: spec.name)
def test_entries_are_consistent(spec: DatasetSpec) -> None:
    assert DATASETS[spec.name] is spec
    if spec.official:
        assert spec.classes
        assert spec.side
        assert spec.channels
    if spec.classes:
        assert len(set(spec.classes)) == len(spec.classes)


def test_cifar_has_its_number_of_classes_in_alphabetical_order() -> None:
    for name, count in (("cifar10", 10), ("cifar100", 100)):
        classes = DATASETS[name].classes
        assert classes
        assert len(classes) == count
        assert list(classes) == sorted(classes)


def test_shapes_are_those_that_are_drawn() -> None:
    assert DATASETS["shapes"].classes == tuple(SHAPES)
    assert DATASETS["shapes"].side == SIDE


def test_the_catalog_needs_no_torch() -> None:
    code = "import sys, airbench.data.catalog; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_folder_needs_a_path_and_shapes_take_none() -> None:
    with pytest.raises(RecipeError, match=r"name = folder needs path \(or --data\)"):
        tiny("airbench94_muon.yaml", "data.name=folder")
    with pytest.raises(RecipeError, match="has no effect on shapes"):
        tiny("airbench94_muon.yaml", "data.path=/x")
