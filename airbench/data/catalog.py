"""The data sets that a recipe can name.

Another one of a known layout is one more specification here, and its line in ``airbench.recipe.data.DATASETS``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airbench.data.dataset import Dataset


@dataclass(frozen=True)
class OfficialFiles:
    """The files in which a data set was published, in the two layouts that CIFAR has."""

    archive: str
    """Name of the archive of pickles."""
    folder: str
    """The folder inside it."""
    binary_archive: str
    """Name of the official archive in the binary layout."""
    train: tuple[str, ...]
    test: tuple[str, ...]
    """Pickles of each split, all of them in one folder. The binary layout has the same names, ending in ``.bin``."""
    label_key: bytes
    """Key of the labels in a pickle."""
    binary_label_bytes: int
    """Bytes before the pixels of an image in the binary layout; the last of them is the label."""


@dataclass(frozen=True)
class DatasetSpec:
    """What makes up a data set, in whichever layout a copy of it is kept."""

    name: str
    """What ``data.name`` calls it."""
    title: str
    """What people call it."""
    classes: tuple[str, ...] | None = None
    """Names of the classes in the order of their labels. None: those of the class folders, sorted."""
    side: int | None = None
    """Height and width of an image in pixels. None: those of the first image."""
    channels: int | None = None
    """3 for RGB, 1 for grey. None: those of the first image."""
    official: OfficialFiles | None = None
    """The published files. None: there are only class folders."""
    fingerprints: Mapping[str, str] | None = None
    """Fingerprints of ``train`` and ``test`` as published, see :func:`airbench.data.dataset.fingerprint`. None:
    they are not known, so no copy counts as genuine."""
    download: str | None = None
    """Class in ``torchvision.datasets`` that downloads it. None: it cannot be downloaded."""
    drawn: bool = False
    """Whether the program draws the images itself."""
    load: "Callable[[], Dataset] | None" = None
    """Returns the images of a data set of your own, see :func:`airbench.data.dataset.make_dataset`."""


_CIFAR100_CLASSES = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle",
    "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle",
    "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur",
    "dolphin", "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard",
    "lamp", "lawn_mower", "leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain",
    "mouse", "mushroom", "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree",
    "plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket",
    "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider",
    "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone", "television",
    "tiger", "tractor",
    "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman", "worm",
)  # fmt: skip

CIFAR10 = DatasetSpec(
    name="cifar10",
    title="CIFAR-10",
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    side=32,
    channels=3,
    official=OfficialFiles(
        archive="cifar-10-python.tar.gz",
        folder="cifar-10-batches-py",
        binary_archive="cifar-10-binary.tar.gz",
        train=("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"),
        test=("test_batch",),
        label_key=b"labels",
        binary_label_bytes=1,
    ),
    fingerprints={
        "train": "6a3b2c04d0a79ce272dcdacaf0bc440275db5a8cbe3717521a28fada2ea0d2ed",
        "test": "65a6ffe079453e514083f99356b35e02cbfd581b4951e3937fae188974b79f39",
    },
    download="CIFAR10",
)

CIFAR100 = DatasetSpec(
    name="cifar100",
    title="CIFAR-100",
    classes=_CIFAR100_CLASSES,
    side=32,
    channels=3,
    official=OfficialFiles(
        archive="cifar-100-python.tar.gz",
        folder="cifar-100-python",
        binary_archive="cifar-100-binary.tar.gz",
        train=("train",),
        test=("test",),
        label_key=b"fine_labels",
        binary_label_bytes=2,
    ),
    download="CIFAR100",
)

FOLDER = DatasetSpec(name="folder", title="images in class folders")

SHAPES = DatasetSpec(
    name="shapes",
    title="built-in shapes",
    classes=(
        "disc", "ring", "semicircle", "crescent", "triangle", "square", "star", "cross", "ell", "tee",
    ),
    side=32,
    channels=3,
    drawn=True,
)  # fmt: skip
