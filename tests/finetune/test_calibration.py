"""Calibration, abstaining, groups and intervals against scikit-learn and cases worked out by hand; calibrators never see their clips."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from made_run import LABELS, make_oof, write_run
from sklearn import metrics as sklearn_metrics
from sklearn.calibration import _SigmoidCalibration
from sklearn.isotonic import IsotonicRegression

from common.errors import UserError
from finetune.__main__ import main
from finetune.evaluation.abstention import abstention, choose_bands
from finetune.evaluation.bootstrap import patient_weights
from finetune.evaluation.by_group import age_group, describing_columns, group_aurocs
from finetune.evaluation.calibration import calibrate
from finetune.evaluation.calibrators import METHODS, MIN_SLOPE, fit_affine, fit_calibrator, fit_isotonic
from finetune.evaluation.intervals import figure_draws
from finetune.evaluation.metrics import METRICS, auroc, label_metrics, weighted_average_precision
from finetune.evaluation.out_of_fold import check_out_of_fold
from finetune.evaluation.reliability import BINS, reliability
from finetune.evaluation.summary import evaluate
from finetune.evaluation.thresholds import choose_threshold
from finetune.tasks.multilabel import MultiLabel

NAN = float("nan")


def made(n: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Truth, and probabilities that are too sure and too high."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=n)
    truth = generator.random(n) < 1 / (1 + np.exp(-logits))
    return truth, 1 / (1 + np.exp(-(3 * logits + 1)))


def logit(p: np.ndarray) -> np.ndarray:
    return np.log(p / (1 - p))


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


def test_groups_are_judged_apart_and_say_why_they_cannot_be():
    table = make_oof(patients=30)
    table["device"] = np.where(table["patient"] < "p020", "old", np.where(table["patient"] < "p027", "new", "rare"))
    table.loc[table["device"] == "new", "target_crackle"] = 0
    predictions = check_out_of_fold(table, LABELS)
    found = group_aurocs(predictions.table[["device"]], predictions.targets, predictions.probabilities, predictions.group, LABELS, 50, 0)
    by = {(of.value, of.label): of for of in found}
    old = table[table["device"] == "old"]
    assert by["old", "wheeze"].auroc == pytest.approx(sklearn_metrics.roc_auc_score(old["target_wheeze"], old["prob_wheeze"]))
    assert by["old", "wheeze"].interval[0] < by["old", "wheeze"].auroc < by["old", "wheeze"].interval[1]
    assert by["new", "crackle"].auroc is None and by["new", "crackle"].reason == "no positive clip"
    assert by["rare", "wheeze"].reason == "fewer than 5 patients" and by["rare", "wheeze"].patients == 3


def test_the_manifest_adds_rate_age_and_sex_by_clip_not_by_row():
    table = pd.DataFrame({"clip_id": ["a", "b", "c"], "device": ["x", "", "y"], "site": ""})
    manifest = pd.DataFrame({"clip_id": ["c", "a"], "sample_rate": [44100.0, NAN], "age_years": [70, 1.5], "sex": ["F", None]})
    found = describing_columns(table, manifest)
    assert found.to_dict("list") == {
        "device": ["x", "", "y"],
        "sample_rate": ["", "", "44100"],
        "age_group": ["under 2 years", "", "65 years and over"],
        "sex": ["", "", "F"],
    }
    assert [age_group(years) for years in (2, 11.9, 18, -1, NAN)] == ["2 to 11 years", "2 to 11 years", "18 to 64 years", "", ""]


def test_the_report_calibrates_chooses_by_sensitivity_and_shows_everything(tmp_path: Path):
    oof = make_oof()
    manifest = oof[["clip_id", "recording", "patient"]].assign(path="none.wav", sample_rate=4000, age_years=40, sex="F")
    manifest.to_csv(tmp_path / "manifest.csv", index=False)
    folder = write_run(tmp_path / "run", oof, manifest=str(tmp_path / "manifest.csv"))
    figures = main(["report", "--run", str(folder), "--resamples", "20", "--calibration", "platt", "--sensitivity", "0.9"])
    assert figures["calibration"] == "platt"
    thresholds = json.loads((folder / "report" / "thresholds.json").read_text())
    assert (thresholds["rule"], thresholds["sensitivity"]) == ("sensitivity", 0.9)
    calibrated = pd.read_csv(folder / "report" / "predictions.csv")
    assert (calibrated.loc[calibrated["target_wheeze"] == 1, "prob_wheeze"] >= thresholds["thresholds"][1]).mean() >= 0.9
    assert not np.allclose(calibrated["prob_wheeze"], oof["prob_wheeze"])
    metrics = json.loads((folder / "report" / "metrics.json").read_text())
    assert set(metrics["calibration"]) == {"none", "temperature", "platt", "isotonic"}
    assert {group["column"] for group in metrics["groups"]} == {"device", "sample_rate", "age_group", "sex"}
    assert 0 < metrics["abstention"]["wheeze"]["coverage"] <= 1
    page = (folder / "report" / "report.html").read_text()
    assert "at least 90% of the positive clips" in page and "calibrated by: Platt" in page and "18 to 64 years" in page


@pytest.mark.parametrize(("option", "value", "words"), [("--sensitivity", "1.5", "sensitivity is 1.5"), ("--abstain", "0", "abstain is 0")])
def test_a_share_that_is_none_is_one_sentence(tmp_path: Path, capsys, option, value, words):
    with pytest.raises(SystemExit):
        main(["report", "--run", str(write_run(tmp_path / "run", make_oof())), option, value])
    assert words in capsys.readouterr().err


def test_draws_repeat_with_their_seed():
    oof = make_oof(patients=10)
    targets, scores = (oof[[f"{kind}_{label}" for label in LABELS]].to_numpy() for kind in ("target", "prob"))
    one, same, other = (
        figure_draws(targets, scores, scores >= 0.5, oof["patient"].to_numpy(str), LABELS, LABELS[1:], 30, seed) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one["macro_f1"], same["macro_f1"])
    assert not np.array_equal(one["macro_f1"], other["macro_f1"])
