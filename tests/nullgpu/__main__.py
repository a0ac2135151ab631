"""Run Python on the null GPU: ``python -m tests.nullgpu train.py configs/quickstart.yaml --device cuda``."""

import os
import sys

from tests.nullgpu import UnavailableError, environment

if __name__ == "__main__":
    try:
        variables = environment()
    except UnavailableError as reason:
        sys.exit(str(reason))
    os.execve(sys.executable, [sys.executable, *sys.argv[1:]], variables)
