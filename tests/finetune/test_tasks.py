"""Classes that exclude each other through the commands: figures, calibration, files, comparison."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from made_classes import arguments, draw, write_classed
from refusals import refusal

from common.manifest import read_manifest
from finetune.__main__ import main
from finetune.predict.model_file import open_model

# Of a report whose intervals and pictures no test looks at.
QUICK = ("--resamples", "5", "--examples", "0")


@pytest.fixture(scope="module")
def classed(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classed(tmp_path_factory.mktemp("classed"), made)


@pytest.fixture(scope="module")
def records(classed: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder of a finished cross-validation of SPRSound's Task 2-1 on the made clips, and its figures."""
    out = tmp_path_factory.mktemp("records") / "run"
    return out, main(["crossval", *arguments(classed, "sprsound_2_1", out, "--skip-near-duplicates", "--trainer.max_epochs", "4")])


def test_poor_quality_counts_as_a_class_through_to_the_figures(classed: Path, records: tuple[Path, dict[str, Any]]) -> None:
    out, figures = records
    oof = pd.read_csv(out / "oof.csv", keep_default_na=False)
    manifest = read_manifest(classed / "manifest.csv", classes=["record_class"])
    assert ((oof["target_Poor Quality"].astype(int) == 1) == (manifest["record_class"] == "Poor Quality")).all()
    assert np.isfinite(figures["sprsound_score"]) and np.isfinite(figures["uar"]) and "icbhi_score" not in figures
    report = main(["report", "--run", str(out), "--resamples", "50", "--examples", "2"])
    written = json.loads((out / "report" / "metrics.json").read_text())
    confusion = np.array(written["pooled"]["classes"]["confusion"])
    assert written["pooled"]["classes"]["classes"] == ["Normal", "Adventitious", "Poor Quality"]
    np.testing.assert_array_equal(
        confusion.sum(axis=1), [oof[f"target_{name}"].astype(int).sum() for name in written["thresholds"]["labels"]]
    )
    assert report["poor_quality_clips"] == 0 and report["annotated_clips"] == len(oof)
    specificity, sensitivity = confusion[0, 0] / confusion[0].sum(), (confusion[1, 1] + confusion[2, 2]) / confusion[1:].sum()
    average, harmonic = (specificity + sensitivity) / 2, 2 * specificity * sensitivity / (specificity + sensitivity)
    assert report["sprsound_score"] == pytest.approx((average + harmonic) / 2) == figures["sprsound_score"]
    low, high = report["sprsound_score_ci"]
    assert low <= report["sprsound_score"] <= high
    # Equal thresholds: the most probable class.
    decided = pd.read_csv(out / "report" / "predictions.csv")
    probable = decided.filter(like="prob_").to_numpy().argmax(axis=1)
    assert (decided.filter(like="decided_").to_numpy().argmax(axis=1) == probable).all()
    page = (out / "report" / "report.html").read_text(encoding="utf-8")
    for words in ("SPRSound Score", "Unweighted average recall", "most probable class", "highest probability is below the limit"):
        assert words in page
    assert "ICBHI" not in page


def test_calibration_of_classes_is_one_temperature_and_their_sum_stays_1(
    records: tuple[Path, dict[str, Any]], tmp_path: Path, capsys: Any
) -> None:
    out, _ = records
    main(["report", "--run", str(out), *QUICK, "--out", str(tmp_path / "report"), "--calibration", "temperature"])
    calibrated = pd.read_csv(tmp_path / "report" / "predictions.csv").filter(like="prob_").to_numpy()
    raw = pd.read_csv(out / "oof.csv").filter(like="prob_").to_numpy()
    np.testing.assert_allclose(calibrated.sum(axis=1), 1, atol=1e-9)
    assert np.abs(calibrated - raw).max() > 1e-3
    np.testing.assert_array_equal(calibrated.argmax(axis=1), raw.argmax(axis=1))
    said = refusal(capsys, ["report", "--run", str(out), "--calibration", "platt"])
    assert "would not sum to 1: choose 'temperature' or 'none'" in said
    assert "sensitivity of 0.9 is that of one label" in refusal(capsys, ["report", "--run", str(out), "--sensitivity", "0.9"])


def test_an_exported_file_answers_probabilities_that_sum_to_1(records: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    out, _ = records
    options = ["--calibration", "temperature", "--per_fold", "false", "--abstain", "0.6"]
    figures = main(["export", "--run", str(out), "--out", str(tmp_path / "model.pt"), *options])
    extra = {"model.json": "", "MODEL_CARD.md": ""}
    file = torch.jit.load(str(tmp_path / "model.pt"), _extra_files=extra)
    description = json.loads(extra["model.json"])
    assert description["decoding"] == "largest_quotient" and description["threshold_rule"] == "equal"
    assert all(of_fold["temperature"] > 0 for of_fold in description["calibration"]["folds"].values())
    assert figures["thresholds"] == pytest.approx([1 / 3] * 3) and figures["parity"] < 1e-5
    probabilities, _ = file(0.1 * torch.randn(4, 9000), 4000)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(4))
    # The limit is that of the report.
    main(["report", "--run", str(out), *QUICK, "--out", str(tmp_path / "report"), *options[:2], *options[4:]])
    limit = json.loads((tmp_path / "report" / "metrics.json").read_text())["class_abstention"]["limit"]
    assert description["abstain_limit"] == limit and description["abstain_kept"] == 0.6 and set(description["abstain"].values()) == {None}


def test_what_a_file_of_classes_leaves_to_a_person_has_no_class_but_in_a_submission(
    made: Path, records: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main(["export", "--run", str(records[0]), "--out", str(tmp_path / "model.pt"), "--per_fold", "false"])
    opened = open_model(tmp_path / "model.pt")

    def predicted(limit: float | None) -> pd.DataFrame:
        limited = replace(opened, metadata={**opened.metadata, "abstain_limit": limit})
        monkeypatch.setattr("finetune.predict.model_file.open_model", lambda _: limited)
        out, submission = str(tmp_path / "predictions.csv"), str(tmp_path / "submission.csv")
        main(["predict", "--model", "any", "--input", str(made), "--out", out, "--submission", submission])
        submitted = pd.read_csv(submission, header=None, index_col=0)[1]
        table = pd.read_csv(out)
        return table.assign(submitted=submitted[[Path(file).stem for file in table["file"]]].to_numpy())

    all_decided = predicted(None)
    highest = all_decided.filter(like="prob_").max(axis=1)
    probable = all_decided.filter(like="prob_").idxmax(axis=1).str.removeprefix("prob_")
    assert (
        len(all_decided) == 48 and (all_decided["decided"] == probable).all() and not all_decided.filter(like="undecided_").any(axis=None)
    )
    limit = float(highest.median())
    some = predicted(limit)
    left = (highest < limit).to_numpy()
    assert 0 < left.sum() < 48 and some["decided"][left].isna().all() and (some["decided"] == probable)[~left].all()
    assert (some.filter(like="undecided_").to_numpy() == left[:, None]).all() and (some["submitted"] == probable).all()
    assert (some.filter(regex="^decided_") == all_decided.filter(regex="^decided_")).all(axis=None)


def test_runs_of_classes_are_compared_by_their_scores(
    records: tuple[Path, dict[str, Any]], classed: Path, tmp_path: Path, capsys: Any
) -> None:
    out, _ = records
    other = tmp_path / "other"
    main(["crossval", *arguments(classed, "sprsound_2_1", other, "--skip-near-duplicates", "--trainer.max_epochs", "1")])
    figures = main(["compare", "--runs", str(out), str(other), "--out", str(tmp_path / "comparison"), "--resamples", "50"])
    rows = figures["differences"]["other"]
    assert {"sprsound_score", "uar"} <= set(rows) and "icbhi_score" not in rows
    low, high = rows["sprsound_score"]["interval"]
    assert low <= rows["sprsound_score"]["difference"] <= high


def test_a_class_of_fewer_patients_than_folds_is_named_with_its_count_and_never_0(classed: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    args = arguments(classed, "icbhi_diagnosis_all", out, "--skip-near-duplicates", "--trainer.max_epochs", "1")
    main(draw(classed, tmp_path / "folds.csv", "diagnosis"))
    args[args.index("--data.folds") + 1] = str(tmp_path / "folds.csv")
    main(["crossval", *args])
    report = main(["report", "--run", str(out), "--resamples", "20", "--examples", "0"])
    written = json.loads((out / "report" / "metrics.json").read_text())
    assert written["not_evaluable"]["Asthma"] == "3 clips of 1 patient, fewer than the 3 folds"
    assert written["not_evaluable"].keys() == {"Bronchiectasis", "Asthma", "URTI", "LRTI", "Pneumonia", "Bronchiolitis"}
    assert written["scored"] == ["COPD"] and report["macro_auroc"] == report["auroc"]["COPD"]
    recall = [written["pooled"]["labels"][name]["recall"] for name in ("Healthy", "COPD")]
    assert report["uar"] == pytest.approx(np.mean(recall))
    asthma = written["pooled"]["labels"]["Asthma"]
    assert asthma["positives"] > 0 and asthma["auroc"] is None and asthma["recall"] is None
    assert report["auroc_ci"]["Asthma"] is None
    assert "Asthma is not evaluable: " in " ".join(written["notes"])
    assert "not evaluable" in (out / "report" / "report.html").read_text(encoding="utf-8")


def test_two_classes_keep_a_sensitivity(classed: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    main(["crossval", *arguments(classed, "icbhi_2class", out, "--skip-near-duplicates", "--trainer.max_epochs", "1")])
    main(["report", "--run", str(out), *QUICK, "--sensitivity", "0.9"])
    written = json.loads((out / "report" / "thresholds.json").read_text())
    normal, abnormal = written["thresholds"]
    assert normal == pytest.approx(1 - abnormal)
    decided = pd.read_csv(out / "report" / "predictions.csv")
    oof = pd.read_csv(out / "oof.csv")
    ill = oof["target_abnormal"] == 1
    kept = (oof["prob_abnormal"][ill] >= abnormal).mean()
    assert kept >= 0.9
    assert (decided["decided_normal"] + decided["decided_abnormal"] == 1).all()


def test_another_class_of_a_clip_is_another_run(classed: Path, records: tuple[Path, dict[str, Any]], tmp_path: Path, capsys: Any) -> None:
    out, _ = records
    original = (classed / "manifest.csv").read_text()
    try:
        (classed / "manifest.csv").write_text(original.replace("CAS & DAS", "DAS", 1))
        args = arguments(classed, "sprsound_2_1", out, "--skip-near-duplicates", "--trainer.max_epochs", "4")
        assert "manifest's clips or labels changed" in refusal(capsys, ["crossval", *args])
    finally:
        (classed / "manifest.csv").write_text(original)
