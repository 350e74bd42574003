"""The bootstrap over patients: every drawn figure is that of the drawn clips."""

import numpy as np
import pytest
from made_run import LABELS, make_oof
from sklearn import metrics as sklearn_metrics

from finetune.evaluation.intervals.bootstrap import patient_weights
from finetune.evaluation.intervals.of_figures import figure_draws
from finetune.evaluation.metrics.label_metrics import METRICS, label_metrics, weighted_average_precision
from finetune.evaluation.summary import evaluate
from finetune.tasks.multilabel import MultiLabel


def test_weighted_average_precision_is_sklearns_with_ties():
    generator = np.random.default_rng(0)
    truth, scores = generator.random(80) < 0.4, np.round(generator.random(80), 1)
    weights = generator.integers(0, 4, (5, 80)).astype(float)
    expected = [sklearn_metrics.average_precision_score(truth, scores, sample_weight=row) for row in weights]
    np.testing.assert_allclose(weighted_average_precision(truth, scores, weights), expected)


def test_every_drawn_figure_is_that_of_the_drawn_clips():
    oof = make_oof(patients=15)
    found = evaluate(oof, MultiLabel(), resamples=8)
    predictions = found.predictions
    [weights] = patient_weights(predictions.group, 8, 0)
    for draw, row in enumerate(weights.astype(int)):
        clips = np.repeat(np.arange(len(row)), row)
        for column, label in enumerate(LABELS):
            drawn = (predictions.targets[clips, column], predictions.probabilities[clips, column], found.decisions[clips, column])
            expected = label_metrics(*drawn)
            assert {name: found.draws[f"{name}_{label}"][draw] for name in METRICS} == pytest.approx(
                {name: expected[name] for name in METRICS}
            )
        targets, decided = predictions.targets[clips, 1:], found.decisions[clips, 1:]
        exact, normal = (targets == decided).all(axis=1), (targets == 0).all(axis=1)
        assert found.draws["icbhi_score"][draw] == pytest.approx((exact[normal].mean() + exact[~normal].mean()) / 2)


def test_intervals_of_means_and_folds_hold_their_values():
    found = evaluate(make_oof(patients=80), MultiLabel(), resamples=300)
    mean, _ = found.spread()
    for name in ("macro_auroc", "icbhi_score", "f1_wheeze"):
        for value, between in [
            (mean[name], found.mean_intervals[name]),
            (found.folds[0].flat()[name], found.fold_intervals[0].figures[name]),
        ]:
            assert between[0] < value < between[1]
    assert found.fold_intervals[0].groups == 20
    wide = found.fold_intervals[0].figures["macro_auroc"]
    assert np.diff(wide) > np.diff(found.mean_intervals["macro_auroc"])


def test_pooled_figures_are_the_same_without_those_of_folds():
    oof = make_oof(patients=12)
    found, pooled = (evaluate(oof, MultiLabel(), resamples=6, by_fold=by_fold) for by_fold in (True, False))
    assert len(found.folds) == 4 and not pooled.folds and not pooled.fold_intervals and not pooled.mean_intervals
    assert pooled.pooled.flat() == found.pooled.flat() and pooled.fold_thresholds == found.fold_thresholds
    np.testing.assert_equal(pooled.draws, found.draws)


def test_draws_repeat_with_their_seed():
    oof = make_oof(patients=10)
    targets, scores = (oof[[f"{kind}_{label}" for label in LABELS]].to_numpy() for kind in ("target", "prob"))
    one, same, other = (
        figure_draws(targets, scores, scores >= 0.5, oof["patient"].to_numpy(str), LABELS, LABELS[1:], 30, seed) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one["macro_f1"], same["macro_f1"])
    assert not np.array_equal(one["macro_f1"], other["macro_f1"])
