"""How a recipe is executed. Recipes that differ only here are the same experiment on different engines."""

from typing import Annotated, Literal

from pydantic import Field

from airbench.recipe.config import Config


class Engine(Config):
    """How the recipe is executed. Affects a run's time, and its numbers by rounding (`precision`, `tf32`, `compile`,
    `fused`, `winograd`, number of threads), but not what is trained."""

    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d{1,3})?)$")] = "auto"
    """Where to train: `auto`, `cuda`, `cuda:1` (the second GPU), `mps` or `cpu`. `auto`: the first of cuda, mps and
    cpu that is available."""

    precision: Literal["auto", "fp16", "bf16", "fp32"] = "auto"
    """Precision of weights and activations. `auto`: fp16 on CUDA; bf16 on a CPU with bf16 instructions; else fp32."""

    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Number of CPU threads PyTorch uses. Unset: PyTorch's own choice."""

    tf32: bool = True
    """On CUDA with precision fp32, let convolutions round their inputs to TF32 (10 bits of mantissa), as PyTorch does
    by default. `false`: IEEE float32 throughout."""

    save: Literal["none", "weights", "predictions", "both"] = "none"
    """What to keep of each trial in the run folder, besides its results. `weights`: the trained net, for
    `airbench predict`. `predictions`: the logits of the test images."""

    compile: Literal["auto", "none", "default", "max-autotune"] = "auto"
    """Compile net and loss with torch.compile in this mode, before the clock starts. `auto`: `default` on CUDA if
    Triton is installed, else `none`. (On a CPU, compiled steps were slower than eager ones, and compiling took
    minutes.)"""

    cuda_graph: bool | None = None
    """Capture forward, backward and update as a CUDA graph before the clock starts, and replay it: one launch per
    step. Unset: on CUDA, if every optimizer of the recipe can be captured."""

    fused: bool = True
    """On a CPU, use the compiled kernels, if they could be built at installation: pooling, normalisation and activation
    in two passes, and convolution (see `winograd`); also compute the weight gradients of the smallest images as one
    matrix product. `false`: PyTorch's own operations, as on every other device."""

    winograd: Literal["auto", 0, 2, 3, 4] = "auto"
    """On a CPU, compute 3×3 convolutions by Winograd's method, in tiles of at most this many pixels per side: larger
    tiles are faster, but lose more precision in bf16. 0: use PyTorch. `auto`: 4 if the kernels are available (built by
    GCC 12 or newer; need AVX2, or AVX512-BF16 for bf16); 0 otherwise, for bf16 with AMX, and for few channels."""
