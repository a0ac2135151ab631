"""Compiling the library that stands in for CUDA, once."""

import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch

SOURCES = Path(__file__).parent / "src"
BUILDS = Path(__file__).parents[2] / "build" / "nullgpu"
"""Removed by ``make clean``."""

LIBRARY = "libcuda.so.1"
ALIAS = "libcuda.so"
NVML = "libnvidia-ml.so.1"
CUDA_MAJOR = "13"
"""CUDA version whose signatures the sources follow."""


class UnavailableError(Exception):
    """The null GPU cannot be built on this machine; the message says why."""


@cache
def build() -> Path:
    """Compile the library, unless that was done before, and return its path.

    Its folder is named by the sources and PyTorch's version, so a stale one is never used. Raises UnavailableError
    where it cannot be built, and CalledProcessError where the compiler refuses the sources.
    """
    include = _check_machine()
    sources = sorted(SOURCES.iterdir())
    key = hashlib.sha256(torch.__version__.encode())
    for file in (Path(__file__), *sources):
        key.update(file.read_bytes())
    library = BUILDS / key.hexdigest()[:16] / LIBRARY
    if not library.exists():
        _compile([source for source in sources if source.suffix == ".cpp"], include, library)
    return library


def _check_machine() -> Path:
    """The folder of CUDA's headers. Raises UnavailableError for whatever is missing."""
    here = f"{platform.system()} {platform.machine()}"
    if here != "Linux x86_64":
        raise UnavailableError(f"the null GPU needs Linux x86_64, and this is {here}")
    if (torch.version.cuda or "").split(".")[0] != CUDA_MAJOR:
        raise UnavailableError(f"the null GPU needs PyTorch for CUDA {CUDA_MAJOR}, and {torch.__version__} is not")
    if shutil.which("g++") is None:
        raise UnavailableError("the null GPU needs g++, and there is none")
    for folder in _include_folders():
        header = folder / "cuda_runtime_api.h"
        # NVIDIA's wheel of the runtime lacks crt/, which its headers include; Triton's wheel has all of them.
        if header.is_file() and (folder / "crt" / "host_defines.h").is_file():
            version = re.search(r"#define CUDART_VERSION\s+(\d+)", header.read_text(encoding="utf-8"))
            if version and int(version[1]) // 1000 == int(CUDA_MAJOR):
                return folder
    raise UnavailableError(f"the null GPU needs the headers of CUDA {CUDA_MAJOR}, and no installed package has them")


def _include_folders() -> list[Path]:
    folders = []
    for package, pattern in (("nvidia", "*/include"), ("triton", "backends/nvidia/include")):
        spec = importlib.util.find_spec(package)
        for root in (spec and spec.submodule_search_locations) or []:
            folders += sorted(Path(root).glob(pattern))
    return [*folders, Path("/usr/local/cuda/include")]


def _compile(sources: list[Path], include: Path, library: Path) -> None:
    """Compile into a temporary folder and rename it: several processes may build at the same time."""
    BUILDS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILDS) as temporary:
        made = Path(temporary) / "made"
        made.mkdir()
        options = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-shared", "-fPIC", "-fvisibility=hidden"]
        subprocess.run(["g++", *options, f"-I{include}", *sources, "-o", made / LIBRARY], check=True)
        (made / ALIAS).symlink_to(LIBRARY)
        (made / NVML).touch()  # not a library: hides a real one, by which PyTorch would count real devices
        try:
            os.rename(made, library.parent)
        except OSError:
            if not library.exists():  # another process was not faster either
                raise
