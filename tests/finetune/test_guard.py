"""The split guard through the command line: a planted leak of each kind is found, sound data have none, and a leak needs permission."""

from pathlib import Path
from typing import Any

import pytest
from made_breaths import FOLDS, allow, arguments, findings, leaks, save, write_data

from common.encoder_file import save_encoder
from common.encoders.cnn import Cnn2d
from common.frontends.log_mel import LogMel
from finetune.__main__ import main


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sound data in a folder that no test writes to."""
    folder = tmp_path_factory.mktemp("clean")
    write_data(folder)
    return folder


def test_sound_data_have_no_leak(clean: Path) -> None:
    figures = main(arguments(clean))
    assert (figures["leaks"], figures["allowed"], figures["warnings"]) == (0, 0, 0)
    assert figures["checked"] == ["patients", "recordings", "exact duplicates", "near-duplicates", "device and rate"]
    assert findings(clean) == []


def test_patients_and_recordings_on_two_sides_are_found_and_can_be_allowed(tmp_path: Path, capsys: Any) -> None:
    table, folds = write_data(tmp_path)
    half = folds["clip_id"] == "r0-1"
    folds.loc[half, ["fold", *(f"role_{k}" for k in range(FOLDS))]] = folds.loc[folds["patient"] == "p1"].iloc[0, 3:].to_list()
    save(tmp_path, table, folds)
    found, said = leaks(tmp_path, capsys)
    assert found == [("patient", "p0", "")]
    assert "first patient p0: in fold 0 held-out and validation" in said
    table.loc[table["clip_id"].isin(["r0-0", "r0-1"]), "recording"] = "shared"
    save(tmp_path, table, folds)
    assert leaks(tmp_path, capsys)[0] == [("patient", "p0", ""), ("recording", "shared", "")]
    assert leaks(tmp_path, capsys, "--allow", allow(tmp_path, "patient,p0,,looked at"))[1].count("1 leaks (1 recording)") == 1
    figures = main(arguments(tmp_path, "--allow", allow(tmp_path, "patient,p0,,looked at", "recording,shared,,too", "patient,p9,,gone")))
    assert (figures["leaks"], figures["allowed"]) == (0, 2)
    said = capsys.readouterr().err
    assert "looked at" in said and "patient p9, which was not found" in said


def test_an_encoder_that_heard_held_out_patients_is_found(clean: Path, tmp_path: Path, capsys: Any) -> None:
    encoder = tmp_path / "encoder.pt"
    save_encoder(encoder, LogMel(num_mels=16), Cnn2d(channels=[8, 16]), {}, ["p4", "stranger"], ["r1-0"])
    found, _ = leaks(clean, capsys, "--encoder", str(encoder))
    assert found == [("encoder_patient", "p4", ""), ("encoder_recording", "r1-0", "")]
    for fold in range(FOLDS):
        (tmp_path / "folds" / f"fold-{fold}").mkdir(parents=True)
        heard = [f"p{p}" for p in range(6) if p % FOLDS != fold or (fold == 2 and p == 5)]
        save_encoder(tmp_path / "folds" / f"fold-{fold}" / "encoder.pt", LogMel(num_mels=16), Cnn2d(channels=[8, 16]), {}, heard, [])
    assert leaks(clean, capsys, "--encoder", str(tmp_path / "folds"))[0] == [("encoder_patient", "p5", "")]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("pateint,p0,,why", "row 2 allows 'pateint': expected one of patient, recording"),
        ("device_tells_label,wheeze,,why", "expected one of patient"),
        ("patient,p0,,", "has no reason"),
        ("patient,,,why", "has no item"),
        ("near_duplicate,a,,why", "second recording of a pair"),
        ("patient,a,b,why", "nothing for other leaks"),
    ],
)
def test_a_wrong_allow_list_is_refused(row: str, said: str, clean: Path, tmp_path: Path, capsys: Any) -> None:
    assert said in leaks(clean, capsys, "--allow", allow(tmp_path, row))[1]
