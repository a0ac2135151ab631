"""Provenance of a run: the machine and the code, as others need them to reproduce it."""

import hashlib
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from airbench import __version__
from airbench.device import Machine, cpu_count, cpu_name
from airbench.kernels import kernels_hash
from airbench.recipe.plugins import loaded_plugins
from airbench.runs import RUN

SOURCE = Path(__file__).resolve().parent.parent
_PACKAGES = ("torch", "torchvision", "numpy", "pydantic", "scipy")
_VARIABLES = ("PYTHONPATH", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "ONEDNN_MAX_CPU_ISA")


_IMPORTED = (".py", ".pyc", ".so", ".pyd")
"""Suffixes of files that Python imports."""


def describe_environment(machine: Machine) -> dict[str, Any]:
    """Return hardware, software and settings as plain values for JSON."""
    return {
        **describe_machine(machine),
        **describe_software(),
        **describe_command(),
        "startup_modules": _startup_modules(),
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
    }


def describe_software() -> dict[str, Any]:
    """Return the versions of Python and of the packages that results depend on."""
    packages = {"airbench": __version__, **{name: _version(name) for name in _PACKAGES}}
    return {"python": platform.python_version(), "packages": packages}


def describe_command() -> dict[str, Any]:
    """Return what the user has set and typed: variables of the environment, and the command."""
    return {
        "variables": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def describe_machine(machine: Machine) -> dict[str, Any]:
    """Return the machine that a trial is trained on as plain values for JSON."""
    return {
        "device": machine.name,
        "device_type": machine.device.type,
        "precision": machine.precision,
        "fp32": machine.fp32,
        "fused_kernels": kernels_hash() if machine.device.type == "cpu" else None,
        "threads": machine.threads,
        "cpu": cpu_name(),
        "cpu_count": cpu_count(),
        "memory_gib": _memory_gib(),
        "gpu": _describe_gpu(machine.device),
        "system": platform.platform(),
    }


def _startup_modules() -> dict[str, str]:
    """Return the files of modules that Python runs at its start, before any program."""
    found = {name: getattr(sys.modules.get(name), "__file__", None) for name in ("sitecustomize", "usercustomize")}
    return {name: file for name, file in found.items() if file}


def describe_source() -> tuple[dict[str, Any], str]:
    """Return the identity of the code and the diff of its uncommitted changes (empty if there are none).

    The hash covers the package's own files, so that it also works without git. The source counts as committed only
    if package and recipes are, byte for byte, those of the commit, with no other files among them, no plugin loaded,
    and no module of the package from elsewhere.
    """
    commit = _git("rev-parse", "HEAD") if _git("ls-files", "--error-unmatch", "__init__.py") is not None else None
    source: dict[str, Any] = {"sha256": source_hash(), "git_commit": commit, "committed": False}
    plugins = _plugin_hashes()
    if plugins:
        source["plugins"] = plugins
    if commit is None:
        return {**source, "note": _why_no_commit()}, ""
    scope = [
        str(SOURCE),
        *(str(path) for path in (SOURCE.parent / "configs", SOURCE.parent / "train.py") if path.exists()),
    ]
    with tempfile.TemporaryDirectory() as folder:
        # A new index: in the user's own, --assume-unchanged and --skip-worktree hide changes from git diff.
        index = str(Path(folder) / "index")
        read = _git("read-tree", "HEAD", index=index)
        difference = _git("diff", "--no-ext-diff", "--no-color", "HEAD", "--", *scope, index=index)
        listed = _git("ls-files", "--others", "--exclude-standard", "--", *scope, index=index)
        # What Python would import counts whether git ignores it or not.
        code = _git("ls-files", "--others", "--", *(str(SOURCE / f"*{suffix}") for suffix in _IMPORTED), index=index)
    lines = [*(listed or "").split("\n"), *(code or "").split("\n")]
    untracked = sorted({file for file in lines if file and not _is_output(file)})
    other = _files_unlike_commit(scope)
    known = None not in (read, difference, listed, code, other)
    parts = {
        "uncommitted changes": difference or other,
        "untracked files": untracked,
        "a plugin": plugins,
        "modules from elsewhere": _modules_from_elsewhere(),
    }
    source["committed"] = known and not any(parts.values())
    source["untracked"] = untracked
    if not source["committed"]:
        source["note"] = ", ".join(what for what, there in parts.items() if there) or "git does not answer"
    return source, difference or ""


def _files_unlike_commit(scope: Sequence[str]) -> list[str] | None:
    """Return the files whose bytes are not those of the commit, by hashing them here; None if git does not answer.

    git diff sees files through the filters that .gitattributes and the user's settings name. Line ends may differ.
    """
    listed = _git("ls-tree", "-r", "-z", "--full-name", "HEAD", "--", *scope)
    top = _git("rev-parse", "--show-toplevel")
    if listed is None or top is None:
        return None
    unlike = []
    for entry in filter(None, listed.split("\0")):
        kind, _, name = entry.partition("\t")
        mode, _, blob = kind.split(" ")
        file = Path(top) / name
        if mode == "160000":
            continue
        if (mode == "120000") != file.is_symlink():
            unlike.append(name)
            continue
        content = os.fsencode(os.readlink(file)) if file.is_symlink() else file.read_bytes() if file.is_file() else b""
        if blob not in (_blob(content, blob), _blob(content.replace(b"\r\n", b"\n"), blob)):
            unlike.append(name)
    return unlike


def _blob(content: bytes, like: str) -> str:
    """Return git's name of ``content``, by the hash function of the name ``like``."""
    function = hashlib.sha1 if len(like) == 40 else hashlib.sha256
    return function(b"blob %d\0" % len(content) + content).hexdigest()


def _modules_from_elsewhere() -> list[str]:
    """Return the package's modules that were not loaded from its folder."""
    loaded = {name: getattr(module, "__file__", None) for name, module in list(sys.modules.items())}
    own = {name: file for name, file in loaded.items() if file and name.partition(".")[0] == SOURCE.name}
    return sorted(name for name, file in own.items() if not Path(file).resolve().is_relative_to(SOURCE))


def _is_output(file: str) -> bool:
    """Return whether an untracked file was left by a run, or by building the kernels, and so is not source."""
    if file.endswith(_IMPORTED):
        path = Path(file)
        kernels = path.name.startswith("_kernels.") and path.parts[-2] == "kernels"
        return kernels or (path.parent.name == "__pycache__" and path.suffix == ".pyc")
    folder = (SOURCE / file).parent
    return any((parent / RUN).is_file() for parent in (folder, *folder.parents[:2]))


def _why_no_commit() -> str:
    """Return why git names no commit: it is not there, it refuses (and its remedy), or does not know the code."""
    try:
        done = subprocess.run(
            ["git", "-C", str(SOURCE), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=20,
        )
    except OSError:
        return "git is not installed"
    except subprocess.SubprocessError:
        return "git does not answer"
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    remedy = next((line for line in lines if line.startswith("git config")), None)
    reason = lines[0] if lines else "git does not know this code"
    return f"{reason} (remedy: {remedy})" if remedy else reason


def source_hash() -> str:
    """Return the SHA-256 of the names and contents of the package's source files."""
    hasher = hashlib.sha256()
    for file in sorted(path for kind in ("*.py", "*.cpp", "*.h", "*.inc") for path in SOURCE.rglob(kind)):
        hasher.update(file.relative_to(SOURCE).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return hasher.hexdigest()


def code_hashes() -> dict[str, str]:
    """Return the SHA-256 of the package's source files, under the package's path, and of each plugin, by name."""
    return {str(SOURCE): source_hash(), **_plugin_hashes()}


def _plugin_hashes() -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in loaded_plugins()}


def _git(*arguments: str, index: str | None = None) -> str | None:
    environment = {**os.environ, "GIT_NO_REPLACE_OBJECTS": "1"}
    if index is not None:
        environment["GIT_INDEX_FILE"] = index
    try:
        done = subprocess.run(
            ["git", "-C", str(SOURCE), *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=20,
            check=True,
            env=environment,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip("\n")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None


def _describe_gpu(device: torch.device) -> dict[str, Any] | None:
    if device.type != "cuda":
        return None
    properties = torch.cuda.get_device_properties(device)
    return {
        "name": properties.name,
        "memory_gib": round(properties.total_memory / 2**30, 1),
        "multiprocessors": properties.multi_processor_count,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }
