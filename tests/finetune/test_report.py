"""The report's files and the figures in them."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from made_run import LABELS, make_oof
from reported import Page, report

from finetune.evaluation.thresholds.per_label import choose_thresholds


def test_writes_every_file_and_no_other(sound_run):
    assert {path.name for path in (sound_run / "report").iterdir()} == {
        "report.html",
        "metrics.json",
        "per_fold.csv",
        "per_patient.csv",
        "label_errors.csv",
        "thresholds.json",
        "predictions.csv",
    }


def test_last_line_holds_the_figures_and_the_table_goes_to_stderr(sound_run, tmp_path, capsys):
    figures = report(sound_run, "--out", str(tmp_path / "elsewhere"))
    captured = capsys.readouterr()
    assert json.loads(captured.out.splitlines()[-1]) == figures
    assert Path(figures["report"]).parent == tmp_path / "elsewhere"
    low, high = figures["macro_auroc_ci"]
    assert low < figures["macro_auroc"] < high
    assert figures["folds"] == 4
    assert figures["patients"] == 40
    assert set(figures["auroc"]) == set(LABELS)
    assert re.search(r"^ *fold +patients +clips +macro_auroc", captured.err, re.MULTILINE)
    assert re.search(rf"^ *pooled +40 +240 +{figures['macro_auroc']:.3f}", captured.err, re.MULTILINE)
    for path in (sound_run / "report").iterdir():
        assert (tmp_path / "elsewhere" / path.name).read_bytes() == path.read_bytes(), "the same run gives the same bytes"


def test_thresholds_are_those_of_all_folds_in_the_export_schema(sound_run):
    written = json.loads((sound_run / "report" / "thresholds.json").read_text())
    oof = make_oof()
    targets, scores = (oof[[f"{kind}_{label}" for label in LABELS]].to_numpy() for kind in ("target", "prob"))
    assert written == {"labels": list(LABELS), "thresholds": list(choose_thresholds(targets, scores, LABELS).values), "rule": "youden"}


def test_rule_reaches_the_thresholds(troubled_run, tmp_path):
    report(troubled_run, "--out", str(tmp_path), "--thresholds", "f1")
    written = json.loads((tmp_path / "thresholds.json").read_text())
    assert written["rule"] == "f1"
    assert written["thresholds"][1] != json.loads((troubled_run / "report" / "thresholds.json").read_text())["thresholds"][1]
    assert "maximises F1 on out-of-fold predictions" in Page((tmp_path / "report.html").read_text()).text


def test_predictions_are_every_clip_decided_by_the_label_rule(sound_run):
    table = pd.read_csv(sound_run / "report" / "predictions.csv", keep_default_na=False)
    assert list(table["clip_id"]) == list(make_oof()["clip_id"])
    assert (table["decided_normal"] == 1 - table[["decided_wheeze", "decided_crackle"]].max(axis=1)).all()


def test_per_fold_table_has_folds_mean_sd_and_pooled(sound_run):
    table = pd.read_csv(sound_run / "report" / "per_fold.csv", dtype={"fold": str})
    assert table["fold"].tolist() == ["0", "1", "2", "3", "mean", "sd", "pooled"]
    assert table["macro_auroc"].iloc[:4].mean() == pytest.approx(table["macro_auroc"].iloc[4])
    assert {"specificity_crackle", "f1_wheeze", "icbhi_sensitivity", "average_precision_normal"} <= set(table.columns)
