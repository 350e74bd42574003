"""The report's calibration, abstaining and groups through its command."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_run import make_oof, write_run

from finetune.__main__ import main


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
