"""Train recipes, timed: ``python train.py configs/speedrun.yaml`` is short for ``airbench train``."""

import sys

from airbench.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
