"""Nets that runs have kept."""

from pathlib import Path

from airbench.api.results import load_run
from airbench.device import choose_machine, prepare
from airbench.errors import AirbenchError, DeviceError
from airbench.experiment.recorded import recorded_recipe
from airbench.runs import RunRecord, weights_name
from airbench.runs.files import content
from airbench.training.saved import TrainedNet, read_net


def load_net(run: str | Path | RunRecord, trial: int | None = None, device: str = "auto") -> tuple[TrainedNet, int]:
    """Load the net that a run folder has kept of ``trial`` (None: of the first that has one), and that trial's index.

    A TrainedNet's ``.net`` is the module, and its ``.logits(images)`` classifies uint8 images. Load the plugins of the
    run first. Raises AirbenchError if there is none.
    """
    record = load_run(run)
    kept = [t.index for t in record.finished if (record.path / weights_name(t.index)).is_file()]
    if not kept or (trial is not None and trial not in kept):
        wanted = "" if trial is None else f" of trial {trial}"
        which = f"; it has those of {', '.join(map(str, kept))}" if kept else ""
        raise AirbenchError(f"{record.path}: no weights{wanted}{which}; train with --save weights")
    index = kept[0] if trial is None else trial
    file = record.path / weights_name(index)
    recipe = recorded_recipe(record, [f"engine.device={device}"]).recipe
    try:
        machine = choose_machine(recipe.engine)
    except DeviceError:  # a precision that this machine does not have
        machine = choose_machine(recipe.engine.model_copy(update={"precision": "auto"}))
    prepare(machine)
    machine.use()
    return read_net(content(file), recipe, machine, str(file)), index
