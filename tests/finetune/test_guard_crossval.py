"""Cross-validation with leaks: refused, allowed and named in the report."""

import json
from pathlib import Path
from typing import Any

import pytest
from made_breaths import COPIES, FOLDS, allow, save, write_data

from common.encoder_file import save_encoder
from common.encoders.cnn import Cnn2d
from common.frontends.log_mel import LogMel
from finetune.__main__ import main

CONFIG = """
trainer: {max_epochs: 1, accelerator: cpu, enable_progress_bar: false}
model:
  task: {class_path: finetune.tasks.multilabel.MultiLabel}
  front_end: {class_path: common.frontends.LogMel, init_args: {num_mels: 16}}
  encoder: {class_path: common.encoders.Cnn2d, init_args: {channels: [8, 16]}}
  clip_s: 1.0
tracking: {wandb: disabled}
"""


def test_crossval_refuses_leaks_and_its_report_names_those_that_are_allowed(tmp_path: Path, capsys: Any) -> None:
    table, folds = write_data(tmp_path, {"copy": COPIES["gain"]})
    folds.loc[folds["clip_id"] == "r2-1", ["fold", *(f"role_{k}" for k in range(FOLDS))]] = (
        folds.loc[folds["clip_id"] == "r0-0"].iloc[0, 3:].to_list()
    )
    save(tmp_path, table, folds)
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    run = tmp_path / "run"
    data = ["--data.manifest", str(tmp_path / "manifest.csv"), "--data.folds", str(tmp_path / "folds.csv")]
    args = ["crossval", "-c", str(tmp_path / "tiny.yaml"), *data, "--out", str(run)]

    def refused(*more: str) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([*args, *more])
        assert stop.value.code == 1 and not run.exists()
        return capsys.readouterr().err

    assert "leaks: in fold 0" in refused() and "allow-list" in refused()
    first = allow(tmp_path, "patient,p2,,known to us")
    assert "near_duplicate,copy,r0-0,why" in refused("--allow-leaks", first)
    main([*args, "--allow-leaks", allow(tmp_path, "patient,p2,,known to us", "near_duplicate,r0-0,copy,same donor")])
    guard = json.loads((run / "run.json").read_text())["guard"]
    assert (guard["leaks"], guard["allowed"]) == (0, 2)
    main(["report", "--run", str(run), "--resamples", "10", "--examples", "0"])
    page = (run / "report" / "report.html").read_text()
    for words in ("Allowed leak: 1 x near_duplicate", "same donor", "Allowed leak: 1 x patient", "known to us", "2 leaks, all allowed"):
        assert words in page, words


def test_crossval_can_leave_the_search_out_and_an_encoder_s_leak_can_be_allowed(tmp_path: Path, capsys: Any) -> None:
    write_data(tmp_path, {"copy": COPIES["gain"]})
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    encoder = tmp_path / "encoder.pt"
    save_encoder(encoder, LogMel(num_mels=16), Cnn2d(channels=[8, 16]), {}, ["p4"], [])
    data = ["--data.manifest", str(tmp_path / "manifest.csv"), "--data.folds", str(tmp_path / "folds.csv")]
    args = ["crossval", "-c", str(tmp_path / "tiny.yaml"), *data, "--out", str(tmp_path / "run"), "--encoder", str(encoder)]
    with pytest.raises(SystemExit):
        main([*args, "--skip-near-duplicates"])
    main([*args, "--skip-near-duplicates", "--allow-leaks", allow(tmp_path, "encoder_patient,p4,,a sample")])
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["encoder"]["transductive"] is True
    assert [each["code"] for each in record["guard"]["findings"] if each["allowed_by"]] == ["encoder_patient"]
    assert "near-duplicates" not in record["guard"]["checked"]
