"""Each study shows what it says, in numbers that can be checked by hand or by the SVD, and leaves its files."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from airbench.data.dataset import Dataset
from airbench.errors import AirbenchError
from airbench.experiment.worker import Worker
from airbench.studies.correlated_inputs import study_correlated_inputs
from airbench.studies.decay import study_decay
from airbench.studies.methods import parse_method
from airbench.studies.muonclip import study_muonclip
from airbench.studies.operator import WAYS, study_operator
from airbench.studies.orthogonalize import study_orthogonalize
from airbench.studies.result import Study
from airbench.studies.spectra import study_spectra
from airbench.training.callback import Callback
from airbench.training.loop import run_trial
from airbench.training.results import EpochRow, TrialSeeds
from tests.conftest import tiny


def saved(study: Study, folder: Path) -> dict[str, object]:
    numbers, figure = study.save(folder / "deep" / "er")
    assert figure.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert sorted(p.name for p in numbers.parent.iterdir()) == sorted([numbers.name, figure.name])
    loaded: dict[str, object] = json.loads(numbers.read_text())
    assert loaded["study"] == study.name
    assert loaded["seen"] == study.conclusion
    assert all(len(row) == len(study.rows[0]) for row in study.rows)
    assert study.conclusion in study.lines()
    return loaded


def test_orthogonalize_gives_the_published_figures_of_three_steps(tmp_path: Path) -> None:
    """Frobenius difference 2.3834, cosine 0.99308, singular values 0.7514, 1.0772, 1.2050 (mean in the middle)."""
    study = study_orthogonalize(methods=["newton_schulz:3"], repeats=1)
    (found,) = study.numbers["methods"]
    assert found["frobenius"] == pytest.approx(2.38, abs=0.03)
    assert found["cosine"] == pytest.approx(0.9931, abs=3e-4)
    assert [found[k] for k in ("s_min", "s_mean", "s_max")] == pytest.approx([0.7514, 1.0772, 1.2050], abs=0.01)
    assert found["milliseconds"]["min"] <= found["milliseconds"]["median"] <= found["milliseconds"]["max"]
    saved(study, tmp_path)


def test_orthogonalize_finds_exact_methods_exact() -> None:
    study = study_orthogonalize(
        (12, 7), ["svd", "inverse_sqrt:40", "none", "newton_schulz:8:polar_express:float32"], repeats=1
    )
    by_name = {n["method"]: n for n in study.numbers["methods"]}
    assert by_name["svd"]["frobenius"] < 1e-5
    assert by_name["inverse_sqrt:40"]["frobenius"] < 1e-3
    assert by_name["newton_schulz:8:polar_express:float32"]["frobenius"] < 1e-2
    assert by_name["none"]["s_max"] > 2
    assert "the closest, svd, takes" in study.conclusion


def test_a_methods_curve_is_what_it_does_to_a_diagonal_matrix() -> None:
    shares = np.array([0.8, 0.5, 0.3, 0.1])
    shares /= np.linalg.norm(shares)
    for text in ("newton_schulz:3:float32", "newton_schulz:6:polar_express:float32", "inverse_sqrt:9", "svd"):
        method = parse_method(text)
        out = method.build()(torch.diag(torch.from_numpy(shares)).float())
        assert np.diag(out.numpy()) == pytest.approx(method.response(shares), abs=1e-4)
    assert parse_method("newton_schulz:2:aol").response(shares) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("newton", "newton: unknown method newton; choose from newton_schulz"),
        ("newton_schulz:fast", "fast is neither a number of steps nor one of muon"),
        ("svd:3", "svd:3: steps"),
        ("newton_schulz:999", "newton_schulz:999: steps"),
    ],
)
def test_a_method_that_is_none_is_answered_in_one_line(text: str, message: str) -> None:
    with pytest.raises(AirbenchError, match=message):
        parse_method(text)


def test_correlated_inputs_have_muon_ahead(tmp_path: Path) -> None:
    study = study_correlated_inputs(seed=42, trials=3)
    assert study.numbers["seeds_in_which_muon_is_lower"]["50"] == 3
    for name in ("sgd", "muon"):
        assert all(len(losses) == 200 and losses[-1] < 0.1 * losses[0] for losses in study.numbers[name]["losses"])
    first = [study.numbers[name]["losses"][0][0] for name in ("sgd", "muon")]
    assert first[0] == first[1]  # the same data and the same initialisation
    saved(study, tmp_path)


def test_decay_follows_its_closed_forms(tmp_path: Path) -> None:
    study = study_decay()
    for row in study.numbers["scales"]:
        for name in ("adam", "adamw"):
            # To first order in lambda / s, which is at most 0.1.
            tolerance = 1e-3 + (0.5 * (1e-3 / row["gradient"]) ** 2 if name == "adam" else 0)
            assert row["measured"][name] == pytest.approx(row["closed_form"][name], rel=tolerance)
    ratios = study.numbers["largest_over_smallest_rate"]
    assert ratios["adam"] == pytest.approx(1e4, rel=0.01)
    assert ratios["adamw"] == pytest.approx(1, abs=1e-6)
    saved(study, tmp_path)


def test_spectra_are_those_of_the_training(few_shapes: Dataset, tmp_path: Path) -> None:
    study = study_spectra(tiny(), moments=3)
    assert study.settings["steps"] == [5, 11, 16]
    for matrices in study.numbers.values():
        assert len(matrices) == 6
        for m in matrices.values():
            assert max(m["before"]) == 1
            assert m["condition_before"] >= m["condition_after"] >= 1
            assert 1 <= m["stable_rank_before"] <= len(m["before"])
            assert m["stable_rank_before"] <= m["stable_rank_after"] + 1e-6
            assert math.isfinite(m["condition_after"])
    saved(study, tmp_path)


def test_spectra_of_a_recipe_without_muon_are_refused(few_shapes: Dataset) -> None:
    with pytest.raises(AirbenchError, match="no group is trained by muon"):
        study_spectra(tiny("airbench94.yaml"))


def test_spectra_of_normuon_are_shown(few_shapes: Dataset) -> None:
    study = study_spectra(tiny("normuon", "train.epochs=0.25"), moments=1)
    assert all(len(matrices) == 6 for matrices in study.numbers.values())


FIXED = "seeds={init: 1, order: 2, augment: 3}"


def test_seeds_that_a_recipe_fixes_are_fixed_in_studies(few_shapes: Dataset) -> None:
    short = ("train.epochs=0.5", FIXED)
    for study, loaded in ((study_spectra, tiny("airbench94_muon", *short)), (study_muonclip, tiny("muonclip", *short))):
        assert study(loaded, seed=0).numbers == study(loaded, seed=7).numbers


def test_the_clips_study_takes_the_steps_of_a_trial(few_shapes: Dataset) -> None:
    """8.5 steps: 8 with one seed, 9 with another."""
    loaded = tiny("muonclip", "train.epochs=1.0625", "train.round_steps=stochastic")
    steps = {study_muonclip(loaded, seed=seed).settings["steps"] for seed in range(4)}
    assert steps == {Worker().setup(loaded.recipe).last_step(TrialSeeds(s, s, s)) for s in range(4)} == {8, 9}


def test_the_operators_spectrum_is_flat_where_it_is_orthogonalised(few_shapes: Dataset, tmp_path: Path) -> None:
    study = study_operator(tiny(), side=8)
    assert len(study.numbers["filters"]) == 6
    for banks in study.numbers["filters"].values():
        for way in WAYS:
            values = np.array(banks[way]["singular_values"])
            assert (np.diff(values) <= 0).all()
            assert banks[way]["stable_rank"] == pytest.approx(values[0] ** -2, rel=1e-3)  # values are over their rms
        assert banks["operator"]["stable_rank"] > banks["momentum"]["stable_rank"]
    ranks = study.numbers["median"]["stable_rank"]
    assert ranks["momentum"] < ranks["flattened"] < ranks["operator"] <= 1
    saved(study, tmp_path)


def test_an_operator_without_muon_is_refused(few_shapes: Dataset) -> None:
    with pytest.raises(AirbenchError, match="Muon trains no convolution"):
        study_operator(tiny("airbench94.yaml"))


HIGH = ("optimizers.qkv.lr=1", "optimizers.qkv.qk_clip={threshold: 3}", "net.width=16")


def test_logits_grow_without_the_clip_and_stay_near_the_threshold_with_it(few_shapes: Dataset, tmp_path: Path) -> None:
    study = study_muonclip(tiny("muonclip", *HIGH, "train.epochs=4"))
    without, with_clip = study.numbers["without qk_clip"], study.numbers["with qk_clip"]
    steps = study.settings["steps"]
    assert all(len(curve[key]) == steps == 32 for curve in (without, with_clip) for key in ("largest_logit", "loss"))
    first = next(i for i, logit in enumerate(without["largest_logit"]) if logit > 3)
    # Until a logit exceeds the threshold, that step included, both are one training.
    for key in ("largest_logit", "loss"):
        assert without[key][: first + 1] == with_clip[key][: first + 1]
        assert without[key][first + 1 :] != with_clip[key][first + 1 :]
    assert np.median(without["largest_logit"][-5:]) > 5 * np.median(with_clip["largest_logit"][-5:])
    saved(study, tmp_path)


def test_the_training_without_the_clip_is_that_of_the_recipe_without_it(few_shapes: Dataset) -> None:
    losses: list[float] = []

    class Losses(Callback):
        def on_epoch(self, row: EpochRow) -> None:
            losses.append(row.train_loss)

    plain = tiny("muonclip", *HIGH, "optimizers.qkv.qk_clip=null", "train.epochs=1", "evaluate.tta=[]")
    run_trial(Worker().setup(plain.recipe), TrialSeeds(0, 0, 0), Losses())
    study = study_muonclip(tiny("muonclip", *HIGH, "train.epochs=1"))
    assert study.numbers["without qk_clip"]["loss"][-1] == pytest.approx(losses[0], rel=1e-6)


def test_a_recipe_without_a_clip_is_refused(few_shapes: Dataset) -> None:
    with pytest.raises(AirbenchError, match="no group has a qk_clip"):
        study_muonclip(tiny("muon"))
