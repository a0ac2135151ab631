"""Settings chosen by Optuna's tree-structured Parzen estimator, and trials stopped by its median rule.

Optuna (Akiba et al. 2019) keeps its record in the sweep's folder; its own tools can read it there. What was trained
stands in the run folders: what its record lacks after an interruption is added from them.
"""

from __future__ import annotations

import math
import os
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airbench.errors import AirbenchError, RecipeError, TrialError
from airbench.experiment.run import Options
from airbench.sweep.axes import Axis, Setting, label, parse_axis
from airbench.sweep.folder import Sweep, check_setting
from airbench.sweep.trained import Say, accuracies, mean_accuracy, train_settings
from airbench.training.callback import Callback
from airbench.training.results import EpochRow

if TYPE_CHECKING:
    import optuna

RECORD = "optuna.log"
MOST_ASKED = 100
"""So often is Optuna asked for a setting that was not tried."""
LEAST = 8
"""Settings that there must be for an estimate of importance."""
_SETTING = "setting"
"""Attribute of Optuna's trials: the number of the setting."""


def require_optuna() -> Any:
    """Import Optuna. Raises AirbenchError if it is not installed."""
    try:
        import optuna
    except ImportError:
        raise AirbenchError("tpe needs Optuna: pip install optuna, or use --random instead") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def search_by_tpe(sweep: Sweep, say: Say, options: Options) -> Sweep:
    """Choose and train settings until there are ``sweep.count``. Returns the sweep with all of them."""
    optuna = require_optuna()
    study = open_study(sweep)
    axes = [parse_axis(text) for text in sweep.axes]
    for old in study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.RUNNING]):
        study.tell(old.number, state=optuna.trial.TrialState.FAIL)  # interrupted; added below when it is trained
    counted = [optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED]
    known = {old.user_attrs.get(_SETTING) for old in study.get_trials(deepcopy=False, states=counted)}
    train_settings(sweep, range(len(sweep.settings)), say, options)
    for number in range(len(sweep.settings)):
        if number not in known:
            study.add_trial(finished_trial(sweep, axes, number))
    at_a_time = 1 if options.cluster is None else options.cluster.capacity(sweep.recipe().recipe)
    assert sweep.count is not None
    while len(sweep.settings) < sweep.count:
        asked = {}
        for number in range(len(sweep.settings), min(sweep.count, len(sweep.settings) + at_a_time)):
            trial = _ask_for_another(study, axes, sweep, say)
            if trial is None:
                break
            asked[number] = trial
            sweep = sweep.with_setting(setting_of(axes, trial.params))
            trial.set_user_attr(_SETTING, number)
        if not asked:
            say(f"\nOptuna finds no other setting that fits than these {len(sweep.settings)}")
            sweep = replace(sweep, count=len(sweep.settings))
            sweep.write()
            break
        # On a cluster trials end elsewhere, and several are asked at once: none is stopped early.
        stop = [_Prune(trial) for trial in asked.values() if _may_prune(sweep, options)]
        train_settings(sweep, list(asked), say, replace(options, callbacks=[*options.callbacks, *stop]))
        for number, trial in asked.items():
            _tell(study, trial, sweep, number)
    return sweep


def _ask_for_another(study: optuna.Study, axes: list[Axis], sweep: Sweep, say: Say) -> optuna.Trial | None:
    """Ask for a setting that was not tried: the same seed would give the same accuracy. None if there is none."""
    for _ in range(MOST_ASKED):
        trial = study.ask(distributions(axes))
        setting = setting_of(axes, trial.params)
        if setting not in sweep.settings:
            try:
                check_setting(sweep.recipe(), setting)
            except RecipeError as error:  # values that do not go together: the worst, and nothing to be trained
                say(f"\n{label(setting)} does not fit: {error}")
                study.tell(trial, 0.0)
                continue
            return trial
        number = sweep.settings.index(setting)
        if sweep.run_of(number) is None and number not in sweep.refused():  # asked for, and not trained yet
            study.tell(trial, state=require_optuna().trial.TrialState.FAIL)
        else:
            _tell(study, trial, sweep, number)
    return None


def _may_prune(sweep: Sweep, options: Options) -> bool:
    # With an executor of its own a trial does not say which epoch is its last.
    return sweep.prune and sweep.trials == 1 and options.cluster is None and options.executor is None


def open_study(sweep: Sweep) -> optuna.Study:
    """Open Optuna's record of the sweep, or begin it. Raises AirbenchError if it is damaged."""
    optuna = require_optuna()
    record = sweep.path / RECORD
    if record.is_file() and not (content := record.read_bytes()).endswith(b"\n"):
        os.truncate(record, content.rfind(b"\n") + 1)  # half a line, left by a crash while writing
    try:
        backend = optuna.storages.journal.JournalFileBackend(str(sweep.path / RECORD))
        return optuna.create_study(
            storage=optuna.storages.JournalStorage(backend),
            study_name="sweep",
            direction="maximize",
            load_if_exists=True,
            sampler=optuna.samplers.TPESampler(seed=sweep.seed + len(sweep.settings), constant_liar=True),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_min_trials=5),
        )
    except (OSError, ValueError, KeyError) as error:
        raise AirbenchError(
            f"{sweep.path / RECORD}: cannot be read ({type(error).__name__}); delete it, and it is written anew"
        ) from None


def distributions(axes: list[Axis]) -> dict[str, Any]:
    """Return Optuna's distribution for each axis."""
    optuna = require_optuna()
    found: dict[str, Any] = {}
    for axis in axes:
        if axis.choices:
            found[axis.key] = optuna.distributions.CategoricalDistribution(axis.choices)
        elif axis.whole:
            found[axis.key] = optuna.distributions.IntDistribution(round(axis.low), round(axis.high), log=axis.log)
        else:
            found[axis.key] = optuna.distributions.FloatDistribution(axis.low, axis.high, log=axis.log)
    return found


def setting_of(axes: list[Axis], params: dict[str, Any]) -> Setting:
    """Return Optuna's parameters as a setting."""
    return {a.key: params[a.key] if a.choices else a.word(params[a.key]) for a in axes}


def params_of(axes: list[Axis], setting: Setting) -> dict[str, Any]:
    """Return a setting as Optuna's parameters, within the ranges, from which rounding may have taken it."""
    found: dict[str, Any] = {}
    for axis in axes:
        word = setting[axis.key]
        if axis.choices:
            found[axis.key] = word
        else:
            value = min(max(float(word), axis.low), axis.high)
            found[axis.key] = round(value) if axis.whole else value
    return found


def finished_trial(sweep: Sweep, axes: list[Axis], number: int) -> optuna.trial.FrozenTrial:
    """Return Optuna's record of a setting that was trained."""
    optuna = require_optuna()
    value = outcome(sweep, number)
    return optuna.trial.create_trial(
        state=optuna.trial.TrialState.PRUNED if value is None else optuna.trial.TrialState.COMPLETE,
        params=params_of(axes, sweep.settings[number]),
        distributions=distributions(axes),
        value=value,
        user_attrs={_SETTING: number},
    )


def importance(sweep: Sweep) -> dict[str, float]:
    """Return the importance of each axis for being among the best settings, largest first; the shares add up to 1.

    By Optuna's PED-ANOVA (Watanabe et al. 2023). Empty without Optuna, and with fewer than LEAST settings.
    """
    try:
        optuna = require_optuna()
    except AirbenchError:
        return {}
    axes = [parse_axis(text) for text in sweep.axes]
    study = optuna.create_study(direction="maximize")
    for number, run in sweep.runs().items():
        if run.finished and len(run.finished) == len(run.trials):
            study.add_trial(finished_trial(sweep, axes, number))
    if len(study.trials) < LEAST or len(axes) < 2:
        return {}
    try:
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        with warnings.catch_warnings(action="ignore"):
            found: dict[str, float] = optuna.importance.get_param_importances(study, evaluator=evaluator)
    except (RuntimeError, ValueError):  # all accuracies are the same
        return {}
    return found if all(math.isfinite(share) for share in found.values()) else {}


class _Prune(Callback):
    """Ends a trial that is below the median of the earlier ones after the same epoch."""

    def __init__(self, trial: optuna.Trial):
        self.trial, self.epochs, self.ended = trial, 0, False

    def on_step(self, step: int, total: int) -> None:
        self.ended = step == total

    def on_epoch(self, row: EpochRow) -> None:
        self.epochs += 1
        self.trial.report(row.accuracy, self.epochs)
        if self.trial.should_prune() and not self.ended:
            raise TrialError(
                f"pruned after {row.epoch:g} epochs: {row.accuracy:.1%} is below the median of the trials before it"
            )


def _tell(study: optuna.Study, trial: optuna.Trial, sweep: Sweep, number: int) -> None:
    """Tell Optuna what came out of a trial."""
    value = outcome(sweep, number)
    if value is None:
        study.tell(trial, state=require_optuna().trial.TrialState.PRUNED)
    else:
        study.tell(trial, value)


def outcome(sweep: Sweep, number: int) -> float | None:
    """Return the mean accuracy of a setting; None if its trial was pruned."""
    run = sweep.run_of(number)
    pruned = run is not None and any(trial.reason.startswith("pruned ") for trial in run.failed)
    return None if pruned else mean_accuracy(accuracies(run))
