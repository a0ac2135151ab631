"""Running Python on the null GPU: a process of its own, since the library must be there before PyTorch is loaded."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.nullgpu.library import build

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Outcome:
    """Result of a process."""

    code: int
    output: str
    """Standard output and standard error."""


def environment(devices: int = 1) -> dict[str, str]:
    """This process's variables, changed for a child that is to find ``devices`` null GPUs and no real one."""
    library = build()
    folder = library.parent
    variables = dict(os.environ)
    variables.pop("CUDA_VISIBLE_DEVICES", None)
    return variables | {
        "LD_PRELOAD": str(library),
        "LD_LIBRARY_PATH": _before(folder, "LD_LIBRARY_PATH"),
        "PYTHONPATH": _before(ROOT, "PYTHONPATH"),
        "NULLGPU_DEVICES": str(devices),
        "TORCH_CUDNN_V8_API_DISABLED": "1",  # the graph interface of cuDNN is not simulated
        "TRITON_LIBCUDA_PATH": str(folder),
        "TRITON_CACHE_DIR": str(folder / "triton"),  # keeps the user's own cache clean
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }


def _before(folder: Path, variable: str) -> str:
    return os.pathsep.join(filter(None, (str(folder), os.environ.get(variable))))


def run(
    arguments: Sequence[str | Path], *, devices: int = 1, variables: Mapping[str, str] | None = None,
    timeout: float = 600,
) -> Outcome:  # fmt: skip
    """Run ``python ARGUMENTS`` in the repository's root with ``devices`` null GPUs. Raises UnavailableError."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env=environment(devices) | dict(variables or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Outcome(done.returncode, done.stdout)
