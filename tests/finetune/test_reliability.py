"""Whether probabilities mean what they say: ECE and Brier score by hand, before and after calibration."""

import numpy as np
import pytest
from made_probabilities import logit, made
from made_run import LABELS, make_oof
from sklearn import metrics as sklearn_metrics

from finetune.evaluation.calibration.cross_fit import calibrate
from finetune.evaluation.calibration.reliability import BINS, reliability
from finetune.evaluation.out_of_fold import check_out_of_fold


def test_ece_and_brier_by_hand():
    # Two bins of equal probabilities: 0.2 with 1 of 4 positive, 0.8 with 3 of 4.
    truth = np.array([1, 0, 0, 0, 1, 1, 1, 0.0])
    scores = np.repeat([0.2, 0.8], 4)
    group = np.arange(8).astype(str)
    found = reliability(truth[:, None], scores[:, None], group, ["a"], 50, 0)["a"]
    assert (found.predicted, found.observed, found.counts) == (pytest.approx((0.2, 0.8)), (0.25, 0.75), (4, 4))
    assert found.ece == pytest.approx(0.05)
    assert found.brier == pytest.approx(sklearn_metrics.brier_score_loss(truth, scores))
    assert (found.miscalibration, found.resolution, found.uncertainty) == pytest.approx((0.0025, 0.0625, 0.25))
    assert found.brier == pytest.approx(found.miscalibration - found.resolution + found.uncertainty), "no spread within these bins"


def test_bins_hold_equal_numbers_of_clips_and_the_brier_interval_its_value():
    truth, scores = made(1000)
    found = reliability(truth[:, None].astype(float), scores[:, None], np.arange(1000).astype(str), ["a"], 200, 0)["a"]
    assert found.counts == (100,) * BINS
    assert found.brier_interval[0] < found.brier < found.brier_interval[1]
    assert all(low <= observed <= high for observed, (low, high) in zip(found.observed, found.observed_intervals, strict=True))


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_calibration_mends_what_was_too_sure(method):
    oof = make_oof(patients=100, seed=2)
    for label in LABELS:
        oof[f"prob_{label}"] = 1 / (1 + np.exp(-(4 * logit(oof[f"prob_{label}"]) + 2)))
    predictions = check_out_of_fold(oof, LABELS)
    before, after = (
        reliability(of.targets, of.probabilities, of.group, LABELS, 10, 0)["wheeze"]
        for of in (predictions, calibrate(predictions, method).apply(predictions))
    )
    assert after.ece < before.ece / 2 and after.brier < before.brier
