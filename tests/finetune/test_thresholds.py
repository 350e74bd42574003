"""Thresholds against an exhaustive search, and that a fold's own clips never choose the thresholds that decide them."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from made_run import make_oof

from finetune.evaluation.summary import evaluate
from finetune.evaluation.thresholds.per_label import UNDECIDED, choose_threshold, choose_thresholds, cross_fitted_thresholds
from finetune.tasks.multilabel import MultiLabel

NAN = float("nan")


def merit(truth: np.ndarray, decided: np.ndarray, rule: str) -> float:
    tp, fp = (truth & decided).sum(), (~truth & decided).sum()
    if rule == "youden":
        return tp / truth.sum() - fp / (~truth).sum()
    return 2 * tp / (tp + fp + truth.sum())


@pytest.mark.parametrize("rule", ["youden", "f1"])
@given(data=st.data(), n=st.integers(2, 40))
@settings(max_examples=60, deadline=None)
def test_no_other_threshold_is_better(rule, data, n):
    truth = data.draw(hnp.arrays(bool, n))
    scores = data.draw(hnp.arrays(np.float64, n, elements=st.floats(0, 1)))
    assume(truth.any() and not truth.all() and len(set(scores)) > 1)
    threshold = choose_threshold(truth.astype(float), scores, rule)
    best = max(merit(truth, scores >= candidate, rule) for candidate in scores)
    assert merit(truth, scores >= threshold, rule) == pytest.approx(best, abs=1e-9)


def test_lies_midway_between_the_classes():
    assert choose_threshold(np.array([0, 0, 1, NAN]), np.array([0.1, 0.2, 0.8, 0.3])) == pytest.approx(0.5)


def test_of_equally_good_ones_the_nearest_to_one_half():
    # Youden's J is 1/2 both between 0.1 and 0.3 and between 0.4 and 0.9.
    targets, scores = np.array([0, 1, 0, 1]), np.array([0.1, 0.3, 0.4, 0.9])
    assert choose_threshold(targets.astype(float), scores) == pytest.approx(0.65)


def test_youden_does_not_move_with_the_prevalence_and_f1_does():
    generator = np.random.default_rng(0)
    negative, positive = generator.normal(0.4, 0.1, 400), generator.normal(0.6, 0.1, 400)
    chosen = {}
    for rule in ("youden", "f1"):
        for copies in (1, 20):
            scores = np.concatenate([np.tile(negative, copies), positive])
            targets = np.concatenate([np.zeros(400 * copies), np.ones(400)])
            chosen[rule, copies] = choose_threshold(targets, scores, rule)
    assert chosen["youden", 1] == chosen["youden", 20]
    assert chosen["f1", 20] > chosen["f1", 1] + 0.05


@pytest.mark.parametrize(
    "targets, scores",
    [([1, 1, NAN], [0.1, 0.9, 0.5]), ([0, 0, 0], [0.1, 0.9, 0.5]), ([NAN] * 3, [0.1, 0.9, 0.5]), ([0, 1, 1], [0.3, 0.3, 0.3])],
)
def test_a_label_that_tells_nothing_gets_one_half_and_is_named(targets, scores):
    good = np.array([0.0, 1.0, 1.0])
    chosen = choose_thresholds(np.column_stack([targets, good]), np.column_stack([scores, [0.1, 0.7, 0.8]]), ["wheeze", "crackle"])
    assert chosen.values[0] == UNDECIDED
    assert chosen.values[1] == pytest.approx(0.4)
    assert chosen.defaulted == ("wheeze",)


def test_a_fold_never_sees_its_own_clips():
    table = make_oof(folds=3)
    targets, scores, fold = table[["target_wheeze"]].to_numpy(), table[["prob_wheeze"]].to_numpy(), table["fold"].to_numpy()
    before = cross_fitted_thresholds(targets, scores, fold, ["wheeze"])
    changed = np.where(fold[:, None] == 1, 1 - scores, scores)
    after = cross_fitted_thresholds(targets, changed, fold, ["wheeze"])
    assert after[1] == before[1]
    assert after[0] != before[0]
    assert before[1] == choose_thresholds(targets[fold != 1], scores[fold != 1], ["wheeze"])


def test_reported_decisions_are_cross_fitted_and_the_export_takes_all_folds():
    table = make_oof(folds=3)
    # Fold 2's model is calibrated lower: its own clips would choose another threshold than the others do.
    table.loc[table["fold"] == 2, "prob_wheeze"] *= 0.3
    found = evaluate(table, MultiLabel(), resamples=20)
    fold = table["fold"].to_numpy()
    wheeze = MultiLabel().labels.index("wheeze")
    for k, thresholds in found.fold_thresholds.items():
        expected = table["prob_wheeze"][fold == k] >= thresholds.values[wheeze]
        np.testing.assert_array_equal(found.decisions[fold == k, wheeze], expected)
    assert len({thresholds.values[wheeze] for thresholds in found.fold_thresholds.values()}) > 1
    targets = table[[f"target_{label}" for label in MultiLabel().labels]].to_numpy()
    scores = table[[f"prob_{label}" for label in MultiLabel().labels]].to_numpy()
    assert found.thresholds == choose_thresholds(targets, scores, MultiLabel().labels)


def test_one_fold_alone_is_decided_at_one_half_and_says_so():
    found = evaluate(make_oof(folds=1), MultiLabel(), resamples=20)
    assert found.fold_thresholds[0].values == (UNDECIDED,) * 3
    assert any("Fold 0: the other folds give no threshold" in note for note in found.notes())
