"""The schema of a recipe: every knob typed, bounded, and explained with its unit.

The docstring under each knob becomes its description in ``configs/recipe.schema.json``, which editors show.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class Knobs(BaseModel):
    """A group of knobs. Unknown keys are errors, and nothing changes after it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


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


class Data(Knobs):
    """Which images, and how they are augmented."""

    name: Literal["cifar10", "shapes"] = "cifar10"
    """`cifar10`: 50,000 photographs in ten classes. `shapes`: drawn by the program itself, no download."""

    path: str | None = None
    """A local copy of CIFAR-10: an archive or a folder. Unset: the environment variable AIRBENCH_DATA,
    then the cache, then the official download."""

    train_images: Annotated[int, Field(ge=1)] | None = None
    """Train on the first so many images only. Unset: on all of them."""

    seed: Seed = 0
    """Seed of the `shapes` images. It has no effect on `cifar10`."""

    augment: Augment = Augment()
    """Augmentation of the training images."""

    @model_validator(mode="after")
    def _path_has_an_effect(self) -> Self:
        if self.path is not None and self.name != "cifar10":
            raise ValueError(f"path (or --data) has no effect on {self.name}, which is drawn by the program")
        return self


# ----------------------------------------------------------------------------------------------- net


class Whiten(Knobs):
    """The first layer: a frozen convolution that whitens image patches, and its bias."""

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


# ---------------------------------------------------------------------------------------- optimizers


class Constant(Knobs):
    """The learning rate stays where it is."""

    name: Literal["constant"]
    """This schedule."""


class Linear(Knobs):
    """The learning rate moves in a straight line."""

    name: Literal["linear"]
    """This schedule."""

    start: NonNegative = 1.0
    """Factor on the group's lr at the first step."""

    end: NonNegative = 0.0
    """Factor on the group's lr that the line arrives at when `epochs` have passed."""

    epochs: Positive | None = None
    """Length in epochs, after which the factor stays at `end`. Unset: the whole run."""


class Triangular(Knobs):
    """The learning rate climbs to 1 and falls again, both in a straight line."""

    name: Literal["triangular"]
    """This schedule."""

    start: NonNegative = 0.2
    """Factor on the group's lr at the first step."""

    peak: Fraction = 0.23
    """Where the factor is 1, as a fraction of the run's steps."""

    end: NonNegative = 0.07
    """Factor on the group's lr that the line arrives at when the run is over."""


Schedule = Annotated[Constant | Linear | Triangular, Field(discriminator="name")]


class Group(Knobs):
    """Knobs that every group of parameters has."""

    params: str | Annotated[tuple[str, ...], Field(min_length=1)]
    """Pattern, or patterns, over parameter names (`*` matches anything). A parameter goes to the first
    group that matches it; every run prints and stores who went where."""

    lr: Positive
    """Learning rate, for a loss that is summed over the batch. Its unit is `lr_unit`."""

    train_epochs: Positive | None = None
    """Freeze the group's parameters after so many epochs. Unset: they train to the end."""

    schedule: Schedule = Linear(name="linear")
    """How the learning rate moves during the run, as a factor on `lr`."""


class SGD(Group):
    """Stochastic gradient descent with momentum (torch.optim.SGD)."""

    name: Literal["sgd"]
    """This optimizer."""

    momentum: Momentum = 0.85
    """Share of the momentum buffer that a step keeps: buffer ← momentum · buffer + gradient."""

    nesterov: bool = True
    """Step along gradient + momentum · buffer instead of along the buffer."""

    lr_unit: Literal["per_step", "per_1024_examples"] = "per_step"
    """`per_step`: as torch.optim.SGD takes it. `per_1024_examples`: decoupled from batch size and
    momentum (Jordan 2024, section 2): the optimizer gets lr / (1024 · (1 + 1 / (1 - momentum)))."""

    lr_scale: Positive = 1.0
    """Factor on the learning rate, for a group that needs more or less than the others."""

    weight_decay: NonNegative = 0.0
    """How fast weights shrink. Its unit is `weight_decay_unit`."""

    weight_decay_unit: Literal["coupled", "per_example", "per_1024_examples"] = "coupled"
    """`coupled`: added to the gradient as weight_decay · weight, as torch.optim.SGD takes it.
    `per_example`: the share of itself that a weight loses per training example while the schedule's factor is
    1, whatever the lr. `per_1024_examples`: the same divided by 1024 · (1 + 1 / (1 - momentum))."""


class NewtonSchulz(Knobs):
    """Orthogonalise by the quintic Newton-Schulz iteration (Jordan et al. 2024, Muon)."""

    method: Literal["newton_schulz"] = "newton_schulz"
    """This method."""

    steps: Annotated[int, Field(ge=0, le=100)] = 3
    """Iterations."""

    coefficients: tuple[Finite, Finite, Finite] = (3.4445, -4.7750, 2.0315)
    """(a, b, c) of X ← a X + b (X Xᵀ) X + c (X Xᵀ)² X."""

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """What it is computed in. `auto`: bfloat16, or float32 where the net itself is float32."""

    eps: Positive = 1e-7
    """Added to the Frobenius norm that the matrix is divided by first."""


class Muon(Group):
    """Momentum, orthogonalised, for convolution filters and matrices (Jordan et al. 2024)."""

    name: Literal["muon"]
    """This optimizer."""

    momentum: Momentum = 0.6
    """Share of the momentum buffer that a step keeps: buffer ← momentum · buffer + gradient."""

    nesterov: bool = True
    """Orthogonalise gradient + momentum · buffer instead of the buffer."""

    weight_decay: NonNegative = 0.0
    """Decoupled, as in AdamW: a step multiplies the weights by 1 - lr · weight_decay."""

    renormalize_every: Annotated[int, Field(ge=0)] = 1
    """Every so many steps, first rescale each filter bank to Frobenius norm √out_channels; 0 for never."""

    orthogonalize: NewtonSchulz = NewtonSchulz()
    """How the update is orthogonalised."""


OptimizerGroup = Annotated[SGD | Muon, Field(discriminator="name")]


class Lookahead(Knobs):
    """A slow copy of weights and batch statistics that the net is set back to (Zhang et al. 2019).

    At step t of T the slow copy moves 1 - decay^every · (t / T)^power of the way to the net.
    """

    every: Annotated[int, Field(ge=1)] = 5
    """Steps between two updates of the slow copy."""

    decay: Fraction = 0.95
    """See the formula above."""

    power: NonNegative = 3.0
    """See the formula above."""


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

    stall_epochs: Annotated[int, Field(ge=1)] = 3
    """A trial fails if its loss is no better than guessing after so many epochs."""


class Evaluate(Knobs):
    """Test accuracy."""

    tta: tuple[Literal["mirror", "translate"], ...] = ("mirror", "translate")
    """Test-time augmentation. `mirror`: average with the mirrored image. `translate`: half the weight on
    the image, a quarter each on it moved one pixel up-left and down-right. Empty: none."""

    batch_size: Annotated[int, Field(ge=1)] = 2000
    """Images in one forward pass."""


class Seeds(Knobs):
    """Hold a source of randomness fixed over the trials of a run. Unset: trial i of `--seed s` uses s + i."""

    init: Seed | None = None
    """Initial weights."""

    order: Seed | None = None
    """Order in which training images are shown."""

    augment: Seed | None = None
    """Flips, translations and cutouts."""


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
