"""The command that lists devices."""

import argparse
import os
from typing import Any

_HELP = """\
List the devices of this machine, the default precision of each, how it would execute a recipe's steps, and which one
engine.device = auto selects.
"""


def add_commands(commands: Any) -> None:
    """Add ``devices``."""
    devices = commands.add_parser(
        "devices", help="list devices", description=_HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    devices.set_defaults(command=_devices)


def _devices(options: argparse.Namespace) -> int:
    import torch

    from airbench.analysis.summary import table
    from airbench.device import choose_machine
    from airbench.kernels.symmetric import why_no_triton
    from airbench.recipe.engine import Engine

    names = [f"cuda:{i}" for i in range(torch.cuda.device_count() if torch.cuda.is_available() else 0)]
    names += ["mps"] if torch.backends.mps.is_available() else []
    names += ["cpu"]
    rows: list[tuple[str, ...]] = [("--device", "name", "memory", "precision", "steps", "")]
    for position, name in enumerate(names):
        machine = choose_machine(Engine(device=name))
        memory, steps = "", "eager"
        if machine.device.type == "cuda":
            memory = f"{torch.cuda.get_device_properties(machine.device).total_memory / 2**30:.0f} GiB"
            compiled = "not compiled" if why_no_triton(machine.device) else "compiled"
            steps = f"{compiled}, captured as a CUDA graph"
        rows.append((name, machine.name, memory, machine.precision, steps, "" if position else "used by default"))
    print("\n".join(table(rows)))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        print(f"CUDA_VISIBLE_DEVICES = {visible}: other GPUs are hidden, and those shown are numbered from 0")
    elif len(names) == 1:
        print(f"PyTorch {torch.__version__} finds no GPU")
    return 0
