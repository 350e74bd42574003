"""Metrics against scikit-learn and hand-worked cases, and what they say where the clips cannot tell."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from made_run import LABELS, make_oof
from sklearn import metrics as sklearn_metrics

from common.errors import UserError
from finetune.evaluation.intervals.of_figures import bootstrap_intervals, figure_draws
from finetune.evaluation.metrics.curves import MAX_POINTS, precision_recall, roc
from finetune.evaluation.metrics.icbhi_score import icbhi_score
from finetune.evaluation.metrics.label_metrics import METRICS, auroc, label_metrics, macro_metrics, weighted_auroc
from finetune.evaluation.metrics.per_fold import per_fold_table
from finetune.evaluation.summary import evaluate
from finetune.tasks.multilabel import MultiLabel

NAN = float("nan")


@given(data=st.data(), n=st.integers(2, 60))
@settings(max_examples=30, deadline=None)
def test_auroc_is_sklearns_also_with_weights_and_ties(data, n):
    truth = data.draw(hnp.arrays(bool, n))
    scores = data.draw(hnp.arrays(np.float64, n, elements=st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0])))
    weights = data.draw(hnp.arrays(np.float64, (3, n), elements=st.sampled_from([0.0, 1.0, 2.0, 5.0])))
    assume((weights @ truth > 0).all() and (weights @ ~truth > 0).all())
    expected = [sklearn_metrics.roc_auc_score(truth, scores, sample_weight=row) for row in weights]
    np.testing.assert_allclose(weighted_auroc(truth, scores, weights), expected, atol=1e-12)
    assert auroc(truth, scores) == pytest.approx(sklearn_metrics.roc_auc_score(truth, scores))


def test_weighted_auroc_without_one_class_is_nan():
    weights = np.array([[1.0, 0.0], [1.0, 1.0]])
    np.testing.assert_array_equal(weighted_auroc(np.array([True, False]), np.array([0.8, 0.3]), weights), [NAN, 1.0])


def test_label_metrics_are_sklearns_on_the_annotated_clips():
    generator = np.random.default_rng(0)
    targets = generator.integers(0, 2, 300).astype(float)
    scores = np.round(np.clip(targets * 0.3 + generator.random(300) * 0.7, 0, 1), 2)
    decisions = (scores >= 0.4).astype(int)
    targets[::7] = NAN
    known = ~np.isnan(targets)
    truth, decided = targets[known], decisions[known]
    expected = {
        "auroc": sklearn_metrics.roc_auc_score(truth, scores[known]),
        "average_precision": sklearn_metrics.average_precision_score(truth, scores[known]),
        "precision": sklearn_metrics.precision_score(truth, decided),
        "recall": sklearn_metrics.recall_score(truth, decided),
        "specificity": sklearn_metrics.recall_score(truth, decided, pos_label=0),
        "f1": sklearn_metrics.f1_score(truth, decided),
        "accuracy": sklearn_metrics.accuracy_score(truth, decided),
    }
    found = label_metrics(targets, scores, decisions)
    assert set(expected) == set(METRICS)
    assert {name: found[name] for name in METRICS} == pytest.approx(expected)
    assert found["n"] == known.sum()
    assert found["prevalence"] == pytest.approx(truth.mean())


def test_label_metrics_by_hand():
    found = label_metrics(np.array([1, 1, 1, 0, 0, NAN]), np.array([0.9, 0.8, 0.1, 0.7, 0.2, 0.9]), np.array([1, 1, 0, 1, 0, 1]))
    assert (found["true_positives"], found["false_negatives"], found["false_positives"], found["true_negatives"]) == (2, 1, 1, 1)
    assert found["recall"] == pytest.approx(2 / 3)
    assert found["specificity"] == 0.5
    assert found["auroc"] == pytest.approx(4 / 6)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_one_class_has_no_metrics_but_counts(value):
    found = label_metrics(np.array([value, value, NAN]), np.array([0.2, 0.8, 0.1]), np.array([0, 1, 1]))
    assert all(found[name] is None for name in METRICS)
    assert found["n"] == 2
    assert found["positives"] == 2 * value


def test_no_annotated_clip_has_no_prevalence():
    assert label_metrics(np.array([NAN]), np.array([0.2]), np.array([0]))["prevalence"] is None


def test_precision_without_a_positive_decision_is_none_not_zero():
    found = label_metrics(np.array([1.0, 0.0]), np.array([0.2, 0.1]), np.array([0, 0]))
    assert found["precision"] is None
    assert found["f1"] == 0


def test_macro_leaves_out_unscored_labels_and_is_none_where_one_is():
    full, none = dict.fromkeys(METRICS, 0.5), dict.fromkeys(METRICS)
    half = dict.fromkeys(METRICS, 0.7)
    assert macro_metrics({"normal": none, "wheeze": full, "crackle": half}, ["wheeze", "crackle"])["f1"] == pytest.approx(0.6)
    assert macro_metrics({"normal": full, "wheeze": full, "crackle": none}, ["wheeze", "crackle"])["f1"] is None


def test_icbhi_score_by_hand():
    # 4 normal (3 right), 2 wheeze (1 right, 1 called both), 1 crackle (called wheeze), 3 both (2 right, 1 only half found).
    targets = np.array([[0, 0]] * 4 + [[1, 0]] * 2 + [[0, 1]] + [[1, 1]] * 3, dtype=float)
    decisions = np.array([[0, 0]] * 3 + [[0, 1]] + [[1, 0], [1, 1]] + [[1, 0]] + [[1, 1], [1, 1], [0, 1]])
    found = icbhi_score(targets, decisions, ["wheeze", "crackle"])
    assert found.specificity == pytest.approx(3 / 4)
    assert found.sensitivity == pytest.approx(3 / 6)
    assert found.score == pytest.approx(0.625)
    assert found.classes == ("normal", "wheeze", "crackle", "wheeze + crackle")
    np.testing.assert_array_equal(found.confusion, [[3, 0, 1, 0], [0, 1, 0, 1], [0, 1, 0, 0], [0, 0, 1, 2]])


def test_icbhi_score_is_stricter_than_the_sensitivity_of_abnormal():
    found = icbhi_score(np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([[0, 1], [0, 0]]), ["wheeze", "crackle"])
    assert found.sensitivity == 0, "an abnormal clip called abnormal by the wrong name is missed"


def test_icbhi_score_leaves_out_clips_whose_class_is_unknown():
    found = icbhi_score(np.array([[1, NAN], [0, 0], [NAN, NAN]]), np.array([[1, 0], [0, 0], [0, 0]]), ["wheeze", "crackle"])
    assert found.n == 1
    assert found.specificity == 1
    assert found.sensitivity is None
    assert found.score is None


@given(
    targets=hnp.arrays(np.int64, st.tuples(st.integers(1, 30), st.just(3)), elements=st.integers(0, 1)),
    seed=st.integers(0, 1000),
)
@settings(max_examples=50, deadline=None)
def test_icbhi_score_agrees_with_counting_clip_by_clip(targets, seed):
    decisions = np.random.default_rng(seed).integers(0, 2, targets.shape)
    found = icbhi_score(targets.astype(float), decisions, ["a", "b", "c"])
    exact, normal = (targets == decisions).all(axis=1), targets.sum(axis=1) == 0
    assert found.n == len(targets)
    assert found.specificity == (pytest.approx(exact[normal].mean()) if normal.any() else None)
    assert found.sensitivity == (pytest.approx(exact[~normal].mean()) if (~normal).any() else None)


def intervals_of(table, **options):
    targets = table[[f"target_{label}" for label in LABELS]].to_numpy()
    scores = table[[f"prob_{label}" for label in LABELS]].to_numpy()
    group = table["patient"].to_numpy(str)
    draws = figure_draws(targets, scores, scores >= 0.5, group, LABELS, ["wheeze", "crackle"], **options)
    return bootstrap_intervals(draws, group)


def test_intervals_draw_patients_not_clips():
    table = make_oof(patients=20)
    tenfold = table.loc[table.index.repeat(10)]
    assert intervals_of(tenfold).labels == intervals_of(table).labels, "copies of a patient's clips are no new patients"


def test_intervals_are_the_percentiles_of_resampled_patients():
    table = make_oof(patients=20, clips_per_patient=8, skill=0.6)
    generator = np.random.default_rng(1)
    patients = table["patient"].unique()
    by_patient = dict(list(table.groupby("patient")))
    values = []
    for _ in range(200):
        drawn = [by_patient[name] for name in generator.choice(patients, len(patients))]
        truth = np.concatenate([part["target_wheeze"] for part in drawn])
        values.append(sklearn_metrics.roc_auc_score(truth, np.concatenate([part["prob_wheeze"] for part in drawn])))
    found = intervals_of(table, resamples=4000)
    assert found.labels["wheeze"] == pytest.approx(np.percentile(values, [2.5, 97.5]), abs=0.03)
    assert found.groups == 20


def test_intervals_hold_the_pooled_value_and_repeat_with_their_seed():
    table = make_oof(patients=30)
    value = auroc(table["target_crackle"].to_numpy() == 1, table["prob_crackle"].to_numpy())
    low, high = intervals_of(table).labels["crackle"]
    assert low < value < high
    assert intervals_of(table, seed=3) == intervals_of(table, seed=3)
    assert intervals_of(table, seed=3) != intervals_of(table, seed=4)


def test_one_patient_gives_no_interval():
    found = intervals_of(make_oof(patients=1, clips_per_patient=60, seed=2))
    assert found.macro is None
    assert set(found.labels.values()) == {None}


def test_curves_mask_unknown_targets_and_refuse_one_class():
    targets, scores = np.array([1, 0, NAN]), np.array([0.9, 0.2, 0.1])
    assert roc(targets, scores).y.tolist() == [0, 1, 1]
    assert precision_recall(np.array([1, 1, NAN]), scores) is None
    assert roc(np.array([NAN]), np.array([0.5])) is None


def test_long_curves_are_thinned_to_the_same_area():
    generator = np.random.default_rng(0)
    targets = generator.integers(0, 2, 20000).astype(float)
    scores = targets + generator.normal(size=20000) * 2
    curve = roc(targets, scores)
    assert len(curve.x) <= MAX_POINTS
    assert np.trapezoid(curve.y, curve.x) == pytest.approx(sklearn_metrics.roc_auc_score(targets, scores), abs=1e-3)


def test_evaluation_pools_folds_and_takes_mean_and_deviation():
    table = make_oof(folds=4)
    found = evaluate(table, MultiLabel(), resamples=50)
    by_fold = [
        np.mean([sklearn_metrics.roc_auc_score(part[f"target_{label}"], part[f"prob_{label}"]) for label in ("wheeze", "crackle")])
        for _, part in table.groupby("fold")
    ]
    figures = found.figures()
    assert figures["macro_auroc_mean"] == pytest.approx(np.mean(by_fold))
    assert figures["macro_auroc_sd"] == pytest.approx(np.std(by_fold, ddof=1))
    assert figures["auroc"]["normal"] == pytest.approx(sklearn_metrics.roc_auc_score(table["target_normal"], table["prob_normal"]))
    rows = per_fold_table(found).set_index("fold")
    assert list(rows.index) == ["0", "1", "2", "3", "mean", "sd", "pooled"]
    assert rows.loc["0":"3", "macro_auroc"].tolist() == pytest.approx(by_fold)
    assert rows.loc["pooled", "patients"] == 40


def test_a_fold_of_one_class_is_named_and_left_out_of_the_mean():
    table = make_oof(folds=3)
    table.loc[table["fold"] == 1, "target_crackle"] = 0
    found = evaluate(table, MultiLabel(), resamples=20)
    rows = per_fold_table(found).set_index("fold")
    assert np.isnan(rows.loc["1", "auroc_crackle"])
    assert np.isnan(rows.loc["1", "macro_auroc"])
    assert not np.isnan(rows.loc["1", "auroc_wheeze"])
    assert rows.loc["mean", "auroc_crackle"] == pytest.approx(rows.loc[["0", "2"], "auroc_crackle"].mean())
    said = "crackle has no positive clip; its metrics and the means over wheeze and crackle are empty in this fold and not in the mean"
    assert [note for note in found.notes() if note.startswith("Fold 1")] == [f"Fold 1: {said} over folds."]


def test_poor_quality_and_unannotated_clips_are_counted_and_left_out():
    table = make_oof()
    kept = evaluate(table.iloc[20:], MultiLabel(), resamples=20)
    poor = table.copy()
    poor.loc[:9, "quality"] = "poor"
    poor.loc[10:19, [f"target_{label}" for label in LABELS]] = NAN
    found = evaluate(poor, MultiLabel(), resamples=20)
    assert found.pooled.labels["wheeze"] == kept.pooled.labels["wheeze"]
    counts = found.predictions.counts()
    assert (counts["clips"], counts["annotated_clips"], counts["poor_quality_clips"], counts["unlabelled_clips"]) == (240, 220, 10, 10)


def test_chance_predictions_are_at_chance():
    figures = evaluate(make_oof(patients=200, skill=0), MultiLabel(), resamples=200).figures()
    low, high = figures["macro_auroc_ci"]
    assert low < 0.5 < high
    assert figures["macro_auroc"] == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize(
    "column, value, words",
    [
        ("prob_wheeze", 1.5, "probability outside 0 to 1"),
        ("prob_wheeze", NAN, "probability outside 0 to 1 or none"),
        ("prob_wheeze", "high", "no number in 'prob_wheeze'"),
        ("target_crackle", 2, "target other than 1, 0 or empty"),
        ("fold", 0.5, "no whole number in 'fold'"),
        ("fold", NAN, "no whole number in 'fold'"),
        ("clip_id", "clip0000", "comes a second time"),
    ],
)
def test_a_wrong_value_is_named_by_row_and_clip(column, value, words):
    table = make_oof().astype({column: object})
    table.loc[3, column] = value
    with pytest.raises(UserError, match=rf"row 5, clip '.*{words}"):
        evaluate(table, MultiLabel())


def test_no_annotated_clip_is_one_sentence():
    table = make_oof()
    table["quality"] = "poor"
    with pytest.raises(UserError, match=r"no annotated clip \(240 clips, 240 of poor quality\)"):
        evaluate(table, MultiLabel())
