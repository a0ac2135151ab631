"""The schema of a recipe: every knob typed, bounded, and explained with its unit.

The docstring under each knob becomes its description in ``configs/recipe.schema.json``, which editors show.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from airbench.recipe.knobs import Fraction, Knobs, NonNegative, Positive, Seed
from airbench.recipe.optimizers import Lookahead, Muon, NormalizedMomentum, OptimizerGroup

# ---------------------------------------------------------------------------------------------- data


class Augment(Knobs):
    """What is done to a training image each time that it is shown."""

    flip: Literal["none", "random", "alternating"] = "alternating"
    """Mirror left-right. `random`: a fresh coin per image and epoch. `alternating`: a random half in
    epoch 0, then every image the other way round in every other epoch (Jordan 2024, section 3.2)."""

    translate: Annotated[int, Field(ge=0, le=16)] = 2
    """Shift by up to this many pixels in each direction, the border filled by reflection."""

    cutout: Annotated[int, Field(ge=0, le=31)] = 0
    """Side, in pixels, of a square set to the mean colour at a random place; 0 for none."""

    brightness: NonNegative = 0.0
    """Add a number drawn from ± this to each normalised image. The range of pixels is about 4 such units."""

    contrast: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Then multiply it with a number drawn from 1 ± this."""


class Data(Knobs):
    """Which images, and how they are augmented."""

    name: Literal["cifar10", "cifar100", "folder", "shapes"] = "cifar10"
    """`cifar10`, `cifar100`: 50,000 photographs in 10 and in 100 classes. `folder`: your own images, as
    train/CLASS/*.png and test/CLASS/*.png below `path`. `shapes`: drawn by the program itself, no download."""

    path: str | None = None
    """A local copy of the images: an archive or a folder. Unset: the environment variable AIRBENCH_DATA,
    then the cache, then the official download. `folder` needs it."""

    train_images: Annotated[int, Field(ge=1)] | None = None
    """Train on the first so many images only. Unset: on all of them."""

    held_out: Annotated[int, Field(ge=1)] | None = None
    """Hold out the last so many training images and evaluate on them instead of the test images: for tuning.
    Unset: evaluate on the test images."""

    seed: Seed = 0
    """Seed of the `shapes` images. It has no effect on other images."""

    augment: Augment = Augment()
    """Augmentation of the training images."""

    @model_validator(mode="after")
    def _path_fits_name(self) -> Self:
        if self.path is not None and self.name == "shapes":
            raise ValueError(f"path (or --data) has no effect on {self.name}, which is drawn by the program")
        if self.path is None and self.name == "folder":
            raise ValueError("name = folder needs path (or --data): the folder that holds train/ and test/")
        return self


# ----------------------------------------------------------------------------------------------- net


class Whiten(Knobs):
    """The first layer: a frozen convolution that whitens image patches, and its bias."""

    filters: Literal["whitening", "random"] = "whitening"
    """`whitening`: computed from the patches of training images. `random`: PyTorch's initialisation."""

    frozen: bool = True
    """Whether the filters stay as they are. If not, a group of `optimizers` must take `whiten.weight`."""

    kernel: Annotated[int, Field(ge=1, le=5)] = 2
    """Side of the patches, in pixels. The layer has 2 · 3 · kernel² channels."""

    eps: Positive = 5e-4
    """Added to the eigenvalues of the patch covariance before their inverse square root."""

    images: Annotated[int, Field(ge=1)] = 5000
    """The covariance is taken over the patches of the first so many training images."""


class BatchNorm(Knobs):
    """Batch normalisation, kept in float32 whatever the precision of the rest."""

    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.6
    """Share of the running statistics that a step *keeps* (PyTorch's `momentum` is one minus this)."""

    eps: Positive = 1e-12
    """Added to the variance before its inverse square root."""

    train_scale: bool = False
    """Whether the scale is trained; otherwise it stays 1. The bias is always there to be trained."""


class Head(Knobs):
    """The linear layer that ends the net."""

    init: Literal["default", "unit_std"] = "unit_std"
    """`default`: PyTorch's. `unit_std`: that, divided by its standard deviation."""

    scale: Positive = 1 / 256
    """Factor on the logits."""


class Net(Knobs):
    """CifarNet: whitening, then groups of convolutions, then a linear head (Jordan 2024, section 3.1)."""

    name: Literal["cifarnet"] = "cifarnet"
    """The only net there is so far."""

    widths: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1, max_length=3)] = (
        64,
        256,
        256,
    )
    """Channels of each group. Each group halves the image's side."""

    depth: Literal[2, 3] = 2
    """Convolutions in a group. The third is residual: its input is added before the last activation."""

    activation: Literal["gelu", "silu", "relu"] = "gelu"
    """The nonlinearity inside the groups. After the whitening layer it is always GELU."""

    identity_init: bool = True
    """Whether the first `in_channels` filters of each convolution start as the identity."""

    whiten: Whiten = Whiten()
    """The whitening layer."""

    batch_norm: BatchNorm = BatchNorm()
    """Batch normalisation in the groups."""

    head: Head = Head()
    """The linear head."""

    fused: bool = True
    """On a CPU, pool, normalise and activate in one, by compiled kernels, where they could be built at installation;
    convolve by them, see `winograd`; and take the weight gradients of the smallest images as one product. `false`:
    PyTorch's own operations, as on every other device."""

    winograd: Literal["auto", 0, 2, 3, 4] = "auto"
    """On a CPU, compute 3×3 convolutions by Winograd's method in tiles of at most so many pixels a side: larger ones
    are faster, and round more in bf16. 0: by PyTorch. `auto`: 4 where there are kernels (built by GCC 12 or
    newer; AVX2, for bf16 AVX512-BF16), 0 where there are none, for bf16 with AMX, and for few channels."""


# --------------------------------------------------------------------------------------------- recipe


class Train(Knobs):
    """The training loop."""

    batch_size: Annotated[int, Field(ge=2)] = 2000
    """Images in a step. The last, incomplete batch of an epoch is dropped."""

    epochs: Positive = 8.0
    """Passes over the training images; need not be whole. A list in a file or on the command line, [4, 6, 8],
    stands for a recipe of each length."""

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Share of the target that is spread over all classes. The loss is summed over the batch."""

    compile: Literal["none", "default", "max-autotune"] = "none"
    """Compile the net's forward and backward pass with torch.compile, in this mode, before the clock starts. Meant
    for a GPU: on a CPU it was slower than none, and took minutes."""

    cuda_graph: bool = False
    """On CUDA, capture forward, backward and update as a CUDA graph before the clock starts, and replay it: the host
    launches them as one. Pays where steps are so short that the GPU waits for the host."""

    stall_epochs: Annotated[int, Field(ge=1)] = 3
    """A trial fails if its loss is no better than guessing after so many epochs."""


class Evaluate(Knobs):
    """Test accuracy."""

    tta: tuple[Literal["mirror", "translate"], ...] = ("mirror", "translate")
    """Test-time augmentation. `mirror`: average with the mirrored image. `translate`: half the weight on
    the image, a quarter each on it moved one pixel up-left and down-right. Empty: none."""

    view_weights: Literal["half_centre", "equal"] = "half_centre"
    """Weights of the views of `translate`. `half_centre`: as above. `equal`: a third each."""

    uncertain: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Use test-time augmentation for this share of the images only: those of which the net is least certain without
    it, by its largest probability (Hiverge 2025)."""

    batch_size: Annotated[int, Field(ge=1)] = 2000
    """Images in one forward pass."""


class Seeds(Knobs):
    """Hold a source of randomness fixed over the trials of a run. Unset: trial i of `--seed s` uses s + i."""

    init: Seed | None = None
    """Initial weights."""

    order: Seed | None = None
    """Order in which training images are shown."""

    augment: Seed | None = None
    """Flips, translations, cutouts and colours."""


class Recipe(Knobs):
    """How to train a net, from images to accuracy."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)] = "recipe"
    """What tables and run folders call it. Unset: the file's name."""

    description: str = ""
    """What the recipe is and where its numbers come from."""

    target: Fraction = 0.94
    """Mean test accuracy that the run is for."""

    device: Literal["auto", "cuda", "cpu", "mps"] = "auto"
    """Where to train. `auto`: the first of cuda, mps and cpu that is there."""

    precision: Literal["auto", "fp16", "bf16", "fp32"] = "auto"
    """Of weights and activations. `auto`: fp16 on cuda; on a cpu bf16 where it has instructions for it;
    else fp32."""

    threads: Annotated[int, Field(ge=1)] | None = None
    """Threads that PyTorch computes with on a CPU. Unset: PyTorch's own choice."""

    data: Data = Data()
    """Images and augmentation."""

    net: Net = Net()
    """The net."""

    train: Train = Train()
    """The training loop."""

    optimizers: Annotated[dict[str, OptimizerGroup], Field(min_length=1)]
    """Groups of parameters, asked in this order, and what trains each. `null` removes an inherited group."""

    lookahead: Lookahead | None = None
    """Weight averaging during training. Unset: none."""

    evaluate: Evaluate = Evaluate()
    """How test accuracy is taken."""

    seeds: Seeds = Seeds()
    """Randomness held fixed."""

    @model_validator(mode="after")
    def _can_be_captured(self) -> Self:
        if self.train.cuda_graph:
            if self.train.compile == "max-autotune":
                raise ValueError(
                    "train.cuda_graph captures no train.compile = max-autotune, which captures graphs itself"
                )
            for name, group in self.optimizers.items():
                if isinstance(group, NormalizedMomentum):
                    raise ValueError(f"train.cuda_graph captures no {group.name}, which trains optimizers.{name}")
                if isinstance(group, Muon) and group.orthogonalize.method == "svd":
                    raise ValueError(f"train.cuda_graph captures no svd, which optimizers.{name} orthogonalizes with")
        return self
