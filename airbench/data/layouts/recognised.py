"""What people name in place of a copy that can be read, and what they should do instead."""

from collections.abc import Sequence
from pathlib import PurePosixPath

from airbench.data.catalog import DatasetSpec
from airbench.data.images import SUFFIXES
from airbench.data.layouts.base import named
from airbench.recipe.data import DATASETS


def instead(spec: DatasetSpec, names: Sequence[str]) -> str | None:
    """What the files are, if they are not the data set; None if nobody knows."""
    for other in DATASETS.values():
        if other.name != spec.name and _published(other, names):
            return f"this is {other.title}, not {spec.title}: use data.name={other.name}"
    if named(names, ("trainLabels.csv", "train.7z", "test.7z")):
        return (
            "this is Kaggle's competition, whose test images have no labels, so nothing can be evaluated on them: "
            f"name another copy of {spec.title}"
        )
    if any(PurePosixPath(name).suffix.lower() in SUFFIXES for name in names):
        return "its images do not lie in class folders in train/ and test/, as in train/NAME/*.png"
    return None


def _published(spec: DatasetSpec, names: Sequence[str]) -> bool:
    """Whether all files in which the data set was published are there, in one of its two layouts."""
    parts = spec.official.train + spec.official.test if spec.official else ()
    forms = (parts, tuple(f"{part}.bin" for part in parts))
    return any(form and all(named(names, [part]) for part in form) for form in forms)


def who_has(classes: set[str]) -> DatasetSpec | None:
    """The data set whose class folders have these names."""
    return next((spec for spec in DATASETS.values() if spec.official and set(spec.classes or ()) == classes), None)
