"""Calibrators against scikit-learn and by hand; they never see the clips that they calibrate."""

import numpy as np
import pytest
import torch
from made_probabilities import logit, made
from made_run import LABELS, make_oof
from sklearn.calibration import _SigmoidCalibration
from sklearn.isotonic import IsotonicRegression

from common.errors import UserError
from finetune.evaluation.calibration.calibrators import METHODS, MIN_SLOPE, fit_affine, fit_calibrator, fit_isotonic
from finetune.evaluation.calibration.cross_fit import calibrate
from finetune.evaluation.metrics.label_metrics import auroc
from finetune.evaluation.out_of_fold import check_out_of_fold


def test_platt_scaling_is_sklearns():
    truth, scores = made()
    slope, offset = fit_affine(truth, scores, with_offset=True)
    reference = _SigmoidCalibration().fit(logit(scores), truth.astype(int))
    assert (slope, offset) == (pytest.approx(-reference.a_, abs=1e-4), pytest.approx(-reference.b_, abs=1e-4))
    assert slope == pytest.approx(1 / 3, abs=0.1), "undoes what was done"


def test_temperature_minimises_the_log_loss_of_a_grid():
    truth, scores = made()
    slope, offset = fit_affine(truth, scores, with_offset=False)
    n, p = truth.sum(), (~truth).sum()
    wanted = np.where(truth, (n + 1) / (n + 2), 1 / (p + 2))

    def loss(of: float) -> float:
        outputs = of * logit(scores)
        return float((np.logaddexp(0, outputs) - wanted * outputs).sum())

    assert offset == 0
    assert all(loss(slope) <= loss(of) for of in np.linspace(0.01, 3, 300))


def test_separable_classes_and_a_turned_ranking_give_finite_increasing_maps():
    truth = np.repeat([False, True], 20)
    slope, offset = fit_affine(truth, np.where(truth, 0.9, 0.1), with_offset=True)
    assert np.isfinite([slope, offset]).all() and slope > 1
    turned, _ = fit_affine(truth, np.where(truth, 0.2, 0.8) + np.linspace(0, 0.1, 40), with_offset=True)
    assert turned == MIN_SLOPE


def test_isotonic_passes_through_the_steps_of_sklearns_and_ranks_within_them():
    truth, scores = made(100)
    staircase = IsotonicRegression().fit_transform(scores, truth)
    knots, values = fit_isotonic(truth, scores)
    np.testing.assert_allclose(values, np.unique(np.round(staircase, 12)))
    for knot, value in zip(knots, values, strict=True):
        assert knot == pytest.approx(scores[np.abs(staircase - value) < 1e-9].mean())
    calibrated = fit_calibrator(truth[:, None].astype(float), scores[:, None], "isotonic").calibrator.numpy(scores[:, None])[:, 0]
    np.testing.assert_allclose(calibrated, np.interp(scores, knots, values))
    assert (np.diff(calibrated[np.argsort(scores)]) >= 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_the_compiled_calibrator_answers_as_numpy(method):
    truth, scores = made()
    targets = np.column_stack([truth, ~truth]).astype(float)
    probabilities = np.column_stack([scores, 1 - scores])
    calibrator = fit_calibrator(targets, probabilities, method).calibrator
    given = torch.from_numpy(np.concatenate([probabilities, [[0.0, 1.0], [1.0, 0.0]]])).float()
    np.testing.assert_allclose(torch.jit.script(calibrator)(given).numpy(), calibrator.numpy(given.numpy()), atol=1e-6)


def test_one_class_is_left_as_it_is_and_said():
    oof = make_oof()
    oof.loc[oof["fold"] != 2, "target_crackle"] = 0
    predictions = check_out_of_fold(oof, LABELS)
    found = calibrate(predictions, "platt")
    rows = predictions.fold == 2
    assert found.notes == ("Fold 2: the other folds have one class of crackle: not calibrated.",)
    calibrated = found.apply(predictions)
    np.testing.assert_array_equal(calibrated.probabilities[rows, 2], predictions.probabilities[rows, 2])
    assert not np.allclose(calibrated.probabilities[rows, 1], predictions.probabilities[rows, 1])


@pytest.mark.parametrize("choice", METHODS)
def test_a_folds_own_targets_never_reach_its_calibrated_probabilities(choice):
    oof = make_oof()
    turned = oof.copy()
    turned.loc[turned["fold"] == 1, [f"target_{label}" for label in LABELS]] = 1
    one, other = (calibrate(given, choice).apply(given) for given in (check_out_of_fold(oof, LABELS), check_out_of_fold(turned, LABELS)))
    of_fold = one.fold == 1
    np.testing.assert_array_equal(one.probabilities[of_fold], other.probabilities[of_fold])
    assert not np.allclose(one.probabilities[~of_fold], other.probabilities[~of_fold])


def test_platt_per_fold_makes_folds_comparable_that_were_shifted():
    oof = make_oof(patients=120, seed=3)
    shift = oof["fold"].map({0: -3.0, 1: -1.0, 2: 1.0, 3: 3.0})
    for label in LABELS:
        oof[f"prob_{label}"] = 1 / (1 + np.exp(-(logit(oof[f"prob_{label}"]) + shift)))
    # Each fold's model on other patients: the next fold's clips, shifted as this fold's model shifts.
    validation = {}
    for fold in range(4):
        clips = oof[oof["fold"] == (fold + 1) % 4].copy()
        moved = {0: -3.0, 1: -1.0, 2: 1.0, 3: 3.0}
        for label in LABELS:
            clips[f"prob_{label}"] = 1 / (1 + np.exp(-(logit(clips[f"prob_{label}"]) - moved[(fold + 1) % 4] + moved[fold])))
        validation[fold] = check_out_of_fold(clips, LABELS)
    predictions = check_out_of_fold(oof, LABELS)

    def area(given) -> float:
        return auroc(given.targets[:, 1] == 1, given.probabilities[:, 1])

    raw, cross, own = (area(calibrate(predictions, choice, validation).apply(predictions)) for choice in ("none", "platt", "fold_platt"))
    by_fold = np.mean(
        [auroc(predictions.targets[rows, 1] == 1, predictions.probabilities[rows, 1]) for rows in [predictions.fold == k for k in range(4)]]
    )
    assert raw < by_fold - 0.05 and cross < by_fold - 0.05, "what other folds say cannot tell how this one is shifted"
    assert own == pytest.approx(by_fold, abs=0.02)
    with pytest.raises(UserError, match=r"no validation\.csv"):
        calibrate(predictions, "fold_platt")
