"""How a recipe is computed. Recipes that differ only here are the same experiment on other engines."""

from typing import Annotated, Literal

from pydantic import Field

from airbench.recipe.config import Config


class Engine(Config):
    """How the recipe is computed: no part of what a run claims but for its seconds."""

    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d{1,3})?)$")] = "auto"
    """Where to train: `auto`, `cuda`, `cuda:1` (the second GPU), `mps` or `cpu`. `auto`: the first of cuda, mps and
    cpu that is there."""

    precision: Literal["auto", "fp16", "bf16", "fp32"] = "auto"
    """Of weights and activations. `auto`: fp16 on cuda; on a CPU bf16 where it has instructions for it; else fp32."""

    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Threads that PyTorch computes with on a CPU. Unset: PyTorch's own choice."""

    tf32: bool = True
    """On CUDA with precision fp32, let convolutions round their factors to TF32 (10 bits of mantissa), as PyTorch does
    by default. `false`: IEEE float32 throughout."""

    compile: Literal["auto", "none", "default", "max-autotune"] = "auto"
    """Compile net and loss with torch.compile, in this mode, before the clock starts. `auto`: `default` on CUDA where
    Triton is there, else `none`. (On a CPU it was slower than none, and took minutes.)"""

    cuda_graph: bool | None = None
    """Capture forward, backward and update as a CUDA graph before the clock starts, and replay it: the host launches
    them as one. Unset: on CUDA, if every optimizer of the recipe can be captured."""

    fused: bool = True
    """On a CPU, pool, normalise and activate in one pass by compiled kernels, where installation could build them;
    convolve by them, see `winograd`; and take the weight gradients of the smallest images as one product. `false`:
    PyTorch's own operations, as on every other device."""

    winograd: Literal["auto", 0, 2, 3, 4] = "auto"
    """On a CPU, compute 3×3 convolutions by Winograd's method in tiles of at most so many pixels a side: larger ones
    are faster, and round more in bf16. 0: by PyTorch. `auto`: 4 where there are kernels (built by GCC 12 or
    newer; AVX2, for bf16 AVX512-BF16), 0 where there are none, for bf16 with AMX, and for few channels."""
