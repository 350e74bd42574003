"""Sensitivities that are kept, and abstaining label by label, by hand."""

import numpy as np
import pytest
from made_probabilities import made

from finetune.evaluation.abstention.per_label import abstention, choose_bands
from finetune.evaluation.thresholds.per_label import choose_threshold


@pytest.mark.parametrize("sensitivity", [0.5, 0.9, 1.0])
def test_a_threshold_at_a_sensitivity_is_the_highest_that_keeps_it(sensitivity):
    truth, scores = made(200)
    threshold = choose_threshold(truth.astype(float), scores, sensitivity=sensitivity)
    assert (scores[truth] >= threshold).mean() >= sensitivity
    above = np.sort(scores[scores >= threshold])
    assert (scores[truth] > above[0]).mean() < sensitivity or (above[0] not in scores[truth])
    higher = min(p for p in scores[truth] if p >= threshold)
    assert (scores[truth] > higher).mean() < sensitivity


def test_bands_keep_what_they_promise_and_meet_where_nothing_is_doubtful():
    truth, scores = made(500)
    [(low, high)] = choose_bands(truth[:, None].astype(float), scores[:, None], ["a"], 0.9)
    assert low < high
    assert (scores[truth] >= low).mean() >= 0.9 and (scores[~truth] < high).mean() >= 0.9
    separable = np.array([[0.0], [0.0], [1.0], [1.0]])
    [(low, high)] = choose_bands(separable, np.array([[0.1], [0.2], [0.8], [0.9]]), ["a"], 0.9)
    assert low == high and 0.2 < low < 0.8


def test_risk_and_coverage_by_hand():
    # Distances to 0.5, surest first: 0.95 right, 0.1 right, 0.8 wrong, 0.4 wrong.
    targets, scores = np.array([[1.0], [0], [0], [1]]), np.array([[0.95], [0.1], [0.8], [0.4]])
    fold = np.array([0, 0, 1, 1])
    found = abstention(targets, scores, fold, np.full((4, 1), 0.5), np.array(list("abcd")), ["a"], 0.9, 20, 0)["a"]
    assert found.curve_coverage.tolist() == [0.25, 0.5, 0.75, 1]
    assert found.curve_risk.tolist() == pytest.approx([0, 0, 1 / 3, 1 / 2])
    assert found.area == pytest.approx((0 + 0 + 1 / 3 + 1 / 2) / 4)
    assert found.full_risk == 0.5
