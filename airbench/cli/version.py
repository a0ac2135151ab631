"""The option ``--version``: which code runs, on which PyTorch, with which kernels."""

import argparse
from typing import Any, NoReturn

from airbench import __version__


class Version(argparse.Action):
    """Print what others need to know of an installation, and exit. Only this option waits for PyTorch."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        """See :class:`argparse.Action`."""
        print("\n".join(version_lines()))
        parser.exit()


def version_lines() -> list[str]:
    """Return version, code, PyTorch, compiled kernels and Triton, a line each; Triton only where there is a GPU."""
    import torch

    from airbench.experiment.environment import describe_source
    from airbench.kernels import describe_kernels
    from airbench.kernels.symmetric import why_no_triton

    lines = [f"airbench {__version__}", f"code:    {_code(describe_source()[0])}", f"torch:   {torch.__version__}"]
    lines.append(f"kernels: {describe_kernels()}")
    if torch.cuda.is_available():
        gpu = torch.device("cuda")
        lines.append(f"triton:  {why_no_triton(gpu) or f'compiles for {torch.cuda.get_device_name(gpu)}'}")
    return lines


def _code(source: dict[str, Any]) -> str:
    """Return commit and changes, as runs record them, or why there is no commit."""
    if source["git_commit"] is None:
        return f"no commit ({source['note']}); sha256 {source['sha256'][:12]}"
    return f"commit {source['git_commit'][:12]}, {'nothing changed' if source['committed'] else source['note']}"
