"""Splits other than k-fold over patients: who is held out, who is left out, and that a run over them ends as one over folds does."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from common.errors import UserError
from common.files import write_csv
from common.manifest import read_manifest
from finetune.__main__ import main
from finetune.folds.table import HELD_OUT, NEVER, TRAIN, UNUSED, VALIDATION, read_folds
from finetune.guard.allow import allowed_groups, read_allow_list
from pretrain.patients import held_out as pretrain_held_out

LABELS = "normal,wheeze"


def manifest(folder: Path, patients: int = 8, **columns: list[Any]) -> Path:
    """Two clips per patient, the first normal, the second with wheezes; ``columns`` have a value per clip."""
    rows = [
        {"clip_id": f"c{patient}-{clip}", "path": "x.wav", "recording": f"r{patient}-{clip}", "patient": f"p{patient}", "quality": ""}
        | {"normal": 1 - clip, "wheeze": clip}
        for patient in range(patients)
        for clip in range(2)
    ]
    write_csv(folder / "m.csv", pd.DataFrame(rows).assign(**columns))
    return folder / "m.csv"


def drawn(folder: Path, *options: str) -> tuple[dict[str, Any], pd.DataFrame]:
    path = folder / "f.csv"
    figures = main(["folds", "--manifest", str(folder / "m.csv"), "--out", str(path), "--labels", LABELS, *options])
    return figures, read_folds(path, read_manifest(folder / "m.csv"), allowed=None)


def refused(capsys: Any, *arguments: str) -> str:
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    assert stop.value.code == 1
    return str(capsys.readouterr().err)


OFFICIAL = ["train"] * 10 + ["train", "test"] + ["test"] * 4
DEVICES = ["A", "B"] * 5 + ["A"] * 6


def test_official_holds_test_out_once_and_leaves_shared_patients_out_of_training(tmp_path: Path, capsys: Any) -> None:
    manifest(tmp_path, split=OFFICIAL, device=DEVICES)
    figures, folds = drawn(tmp_path, "--scheme", "official")
    test = pd.Series(OFFICIAL) == "test"
    assert (folds["fold"] == test.map({True: 0, False: NEVER})).all()
    assert (folds["role_0"][test] == HELD_OUT).all()
    assert folds["role_0"][folds["clip_id"] == "c5-0"].item() == UNUSED
    rest = folds[~test & (folds["patient"] != "p5")]
    assert set(rest["role_0"]) == {TRAIN, VALIDATION} and (rest.groupby("patient")["role_0"].nunique() == 1).all()
    assert (figures["folds"], figures["never_held_out"], figures["unused_per_fold"]) == (1, 11, [1])
    said = capsys.readouterr().err
    assert "1 patient is on both sides of the split (patient p5); their other clips are unused" in said
    # Of A 5 of 11 clips are held out, of B none.
    assert "A 45%, B 0%" in said
    caveats = json.loads((tmp_path / "f.json").read_text())["caveats"]
    assert len(caveats) == 2 and all(sentence in said for sentence in caveats)
    # Neither of the rest and the shared patient is pretrained on.
    assert set(pretrain_held_out(tmp_path / "f.csv", 0)["patient"]) == {"p5", "p6", "p7"}
    with pytest.raises(UserError, match="expected one of 0"):
        pretrain_held_out(tmp_path / "f.csv", NEVER)


def test_shared_patients_are_kept_only_with_an_allow_list_and_are_named(tmp_path: Path, capsys: Any) -> None:
    manifest(tmp_path, split=OFFICIAL)
    figures, folds = drawn(tmp_path, "--scheme", "official", "--keep_shared_patients", "true")
    assert folds["role_0"][folds["clip_id"] == "c5-0"].item() in (TRAIN, VALIDATION)
    assert "1 of their other clips are trained or validated on, a leak" in capsys.readouterr().err
    table = read_manifest(tmp_path / "m.csv")
    with pytest.raises(UserError, match="leaks: in fold 0 1 patients"):
        read_folds(tmp_path / "f.csv", table)
    allowed = pd.read_csv(figures["allow_list"], dtype=str, keep_default_na=False)
    assert allowed[["code", "item", "other"]].to_numpy().tolist() == [["patient", "p5", ""]] and (allowed["reason"] != "").all()


def test_folds_of_recordings_divide_patients_and_need_their_allow_list(tmp_path: Path, capsys: Any) -> None:
    manifest(tmp_path)
    figures, folds = drawn(tmp_path, "--scheme", "recordings", "--num_folds", "4")
    assert (figures["grouped_by"], figures["groups"], figures["clips_per_fold"]) == ("recording", 16, [4] * 4)
    assert (
        list(folds["patient"]) == list(read_manifest(tmp_path / "m.csv")["patient"]) and figures["positives_per_fold"]["wheeze"] == [2] * 4
    )
    assert "patients are on both sides of the split" in capsys.readouterr().err
    table = read_manifest(tmp_path / "m.csv")
    with pytest.raises(UserError, match="leaks: in fold 0"):
        read_folds(tmp_path / "f.csv", table)
    # Those too whose clips are all held out by one fold, and divided into training and validation in another.
    allowed = allowed_groups(read_allow_list(figures["allow_list"]))
    assert read_folds(tmp_path / "f.csv", table, allowed)["fold"].tolist() == folds["fold"].tolist()


def test_a_hold_out_is_a_share_of_the_patients(tmp_path: Path) -> None:
    manifest(tmp_path, patients=20)
    figures, folds = drawn(tmp_path, "--scheme", "holdout", "--held_out_share", "0.25")
    assert set(folds["role_0"]) == {HELD_OUT, TRAIN, VALIDATION}
    assert folds["patient"][folds["fold"] == 0].nunique() == 5 and (folds["fold"] == NEVER).sum() == 30
    assert (folds.groupby("patient")["role_0"].nunique() == 1).all()
    assert figures["positives_per_fold"]["wheeze"] == [5]


def test_leave_one_out_holds_each_value_out_once_and_its_patients_with_it(tmp_path: Path, capsys: Any) -> None:
    # Patient 0 is recorded with both devices, patient 7's device is not known.
    manifest(tmp_path, device=["A", "B"] + ["A"] * 6 + ["B"] * 6 + ["", ""])
    _, folds = drawn(tmp_path, "--scheme", "leave_one_out", "--column", "device")
    assert "0 = A, 1 = B" in capsys.readouterr().err
    table = read_manifest(tmp_path / "m.csv")
    for number, device in enumerate("AB"):
        assert ((folds["fold"] == number) == (table["device"] == device)).all()
        role = folds[f"role_{number}"]
        assert (role[(table["patient"] == "p0") & (table["device"] != device)] == UNUSED).all()
        assert role[table["device"] == ""].isin([TRAIN, VALIDATION]).all()
    assert (folds["fold"][table["device"] == ""] == NEVER).all()


def test_a_fold_of_one_patient_and_a_label_without_positives_are_said(tmp_path: Path, capsys: Any) -> None:
    path = manifest(tmp_path, site=["x"] * 2 + ["y"] * 14)
    table = pd.read_csv(path).assign(wheeze=[0, 0] + [0, 1] * 7)
    write_csv(path, table)
    # Left with one patient, a fold could not both train and validate.
    assert "leaves 1 to the rest" in refused(capsys, *arguments(tmp_path, "--scheme", "leave_one_out", "--column", "site"))
    write_csv(path, table.assign(site=["x"] * 2 + ["y"] * 6 + ["z"] * 8))
    drawn(tmp_path, "--scheme", "leave_one_out", "--column", "site")
    said = capsys.readouterr().err
    assert "Fold 0 holds out one patient or recording, patient p0: it has no interval" in said
    assert "label 'wheeze' has positive clips" in said and "fold 0 holds none out" in said


def arguments(folder: Path, *options: str) -> list[str]:
    return ["folds", "--manifest", str(folder / "m.csv"), "--out", str(folder / "f.csv"), "--labels", LABELS, *options]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--scheme", "official"], "column 'split' holds nothing"),
        (["--scheme", "holdout", "--held_out_share", "0.8"], "--held_out_share is 0.8"),
        (["--scheme", "leave_one_out"], "needs a column"),
        (["--scheme", "holdout", "--column", "device"], "nothing else takes one"),
        (["--scheme", "leave_one_out", "--column", "ward"], "no column 'ward'"),
        (["--scheme", "leave_one_out", "--column", "device"], "'device' has 0 values"),
    ],
)
def test_command_refuses(tmp_path: Path, capsys: Any, options: list[str], said: str) -> None:
    manifest(tmp_path)
    assert said in refused(capsys, *arguments(tmp_path, *options))
    assert not (tmp_path / "f.csv").exists()


def test_a_run_over_an_official_split_is_whole(made: Path, tmp_path: Path, capsys: Any) -> None:
    table = read_manifest(made / "manifest.csv")
    number = table["patient"].str[1:].astype(int)
    split = (number >= 8).map({True: "test", False: "train"})
    # Patient p8 is on both sides.
    split[table.index[table["patient"] == "p8"][0]] = "train"
    write_csv(tmp_path / "m.csv", table.assign(split=split))
    main(["folds", "--manifest", str(tmp_path / "m.csv"), "--out", str(tmp_path / "f.csv"), "--scheme", "official"])
    data = ["--data.manifest", str(tmp_path / "m.csv"), "--data.folds", str(tmp_path / "f.csv"), "--trainer.max_epochs", "2"]
    figures = main(["crossval", "-c", str(made / "tiny.yaml"), *data, "--out", str(tmp_path / "run")])
    predictions = pd.read_csv(tmp_path / "run" / "oof.csv")
    assert figures["folds"] == 1 and set(predictions["clip_id"]) == set(table["clip_id"][split == "test"])
    report = main(["report", "--run", str(tmp_path / "run"), "--resamples", "50", "--examples", "0"])
    page = Path(report["report"]).read_text()
    assert "Incomplete" not in page and "Leak:" not in page
    assert "1 patient is on both sides of the split (patient p8); their other clips are unused" in page and "One fold" in page
    # There is no spread to speak of.
    assert " ± " not in page and "on the held-out clips (95 % interval" in page and "± " not in capsys.readouterr().err
    # No other fold could choose thresholds: those of the validation patients decide.
    said = json.loads((tmp_path / "run" / "report" / "metrics.json").read_text())
    assert said["fold_thresholds"]["0"] == said["thresholds"]
    validation = pd.read_csv(tmp_path / "run" / "fold-0" / "validation.csv")
    wheeze = validation.dropna(subset="target_wheeze")
    youden = [
        (wheeze["prob_wheeze"][wheeze["target_wheeze"] == 1] >= t).mean()
        - (wheeze["prob_wheeze"][wheeze["target_wheeze"] == 0] >= t).mean()
        for t in [*wheeze["prob_wheeze"], said["thresholds"]["thresholds"][1]]
    ]
    assert youden[-1] == pytest.approx(max(youden))
    exported = main(["export", "--run", str(tmp_path / "run"), "--out", str(tmp_path / "model.pt")])
    assert exported["thresholds"] == said["thresholds"]["thresholds"] and len(exported["fold_models"]) == 1
