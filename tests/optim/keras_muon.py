"""Weights after steps of Keras's Muon, for the parity test: a program of its own, since Keras changes its process.

    KERAS_BACKEND=torch python -m tests.optim.keras_muon IN.npz OUT.npz

IN holds ``start`` ``(m, n)``, ``gradients`` ``(steps, m, n)``, and lr, momentum, nesterov and weight_decay. Exits with
SKIPPED where Keras is missing.
"""

import importlib.util
import sys

import numpy as np

SKIPPED = 77


def main(source: str, target: str) -> int:
    if importlib.util.find_spec("keras") is None:
        return SKIPPED
    import keras
    import torch

    if not hasattr(keras.optimizers, "Muon"):
        return SKIPPED
    given = np.load(source)
    variable = keras.Variable(given["start"])
    optimizer = keras.optimizers.Muon(
        learning_rate=float(given["lr"]),
        momentum=float(given["momentum"]),
        nesterov=bool(given["nesterov"]),
        weight_decay=float(given["weight_decay"]) or None,
    )
    for gradient in given["gradients"]:
        optimizer.apply([torch.from_numpy(gradient)], [variable])
    np.savez(target, weight=keras.ops.convert_to_numpy(variable))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
