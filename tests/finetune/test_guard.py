"""The split guard through the command line: a planted leak of each kind is found, sound data have none, and a leak needs permission."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, resample_poly, sosfilt

from common.encoder_file import save_encoder
from common.encoders.cnn import Cnn2d
from common.frontends.log_mel import LogMel
from finetune.__main__ import main
from finetune.guard.coherence import LIMIT, coherence
from finetune.guard.confounding import cramers_v
from finetune.guard.landmarks import RATE, candidates, landmarks

FOLDS = 3


def breathing(patient: int, recording: int, seconds: float = 6.0, rate: int = 8000) -> np.ndarray:
    """Breath noise with the patient's own rhythm, timbre and heart beat: alike within a patient, but no copy. [T], float."""
    own, random = np.random.default_rng(patient), np.random.default_rng([patient, recording])
    time = np.arange(int(seconds * rate)) / rate
    edge_hz, breath_hz, beat_s = own.uniform(250, 500), own.uniform(0.2, 0.4), own.uniform(0.7, 1.0)
    noise = sosfilt(butter(2, [80, edge_hz], "bandpass", fs=rate, output="sos"), random.standard_normal(len(time)))
    breath = noise * (0.2 + np.sin(np.pi * breath_hz * (time + random.uniform(0, 2))) ** 2)
    since_beat = (time + random.uniform(0, beat_s)) % beat_s
    heart = 0.5 * np.exp(-since_beat / 0.03) * np.sin(2 * np.pi * 70 * since_beat)
    mains = 0.05 * np.sin(2 * np.pi * 50 * time)
    return np.asarray(0.3 * (breath + heart + mains))


def write_data(
    folder: Path, copies: dict[str, tuple[np.ndarray, int]] | None = None, patients: int = 6
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Write two recordings per patient, and ``copies`` (name -> samples and rate) as recordings of patient p1, with its tables."""
    rows = []
    sounds = {f"r{p}-{n}": (p, breathing(p, n), 8000) for p in range(patients) for n in range(2)}
    sounds |= {name: (1, samples, rate) for name, (samples, rate) in (copies or {}).items()}
    for number, (name, (patient, samples, rate)) in enumerate(sounds.items()):
        soundfile.write(folder / f"{name}.wav", samples, rate, subtype="PCM_16")
        wheeze = (number + number // 2) % 2
        rows.append(
            {
                "clip_id": name,
                "path": str(folder / f"{name}.wav"),
                "recording": name,
                "patient": f"p{patient}",
                "sample_rate": rate,
                "device": "one",
                "normal": 1 - wheeze,
                "wheeze": wheeze,
                "crackle": number % 2,
            }
        )
    table = pd.DataFrame(rows)
    fold = table["patient"].str[1:].astype(int) % FOLDS
    folds = table[["clip_id", "recording", "patient"]].assign(fold=fold)
    for number in range(FOLDS):
        roles = np.where(fold == (number + 1) % FOLDS, "validation", "train")
        folds[f"role_{number}"] = np.where(fold == number, "held_out", roles)
    save(folder, table, folds)
    return table, folds


def save(folder: Path, table: pd.DataFrame, folds: pd.DataFrame) -> None:
    table.to_csv(folder / "manifest.csv", index=False)
    folds.to_csv(folder / "folds.csv", index=False)


def arguments(folder: Path, *more: str) -> list[str]:
    names = ["--manifest", str(folder / "manifest.csv"), "--folds", str(folder / "folds.csv"), "--out", str(folder / "guard.json")]
    return ["guard", *names, *more]


def findings(folder: Path) -> list[tuple[str, str, str]]:
    record = json.loads((folder / "guard.json").read_text())
    return [(each["code"], each["item"], each["other"]) for each in record["findings"]]


def leaks(folder: Path, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[list[tuple[str, str, str]], str]:
    """What the guard refuses, and in which words."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(arguments(folder, *more))
    assert stop.value.code == 1
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return findings(folder), said


def allow(folder: Path, *rows: str) -> str:
    (folder / "allow.csv").write_text("code,item,other,reason\n" + "\n".join(rows) + "\n")
    return str(folder / "allow.csv")


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


ORIGINAL = breathing(0, 0)
RANDOM = np.random.default_rng(0)
NOISE = RANDOM.standard_normal(len(ORIGINAL)) * ORIGINAL.std() * 10 ** (-30 / 20)
COPIES = {
    "gain": (0.3 * ORIGINAL, 8000),
    "louder and upside down": (-1.4 * ORIGINAL, 8000),
    "first half second gone": (ORIGINAL[4000:], 8000),
    "odd samples gone at both ends": (ORIGINAL[1237:-2371], 8000),
    "44.1 kHz": (resample_poly(ORIGINAL, 441, 80), 44100),
    "4 kHz": (resample_poly(ORIGINAL, 1, 2), 4000),
    "noise at 30 dB SNR": (ORIGINAL + NOISE, 8000),
    "all together": (resample_poly(0.5 * (ORIGINAL + NOISE)[4000:], 441, 80), 44100),
}


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_a_near_duplicate_on_two_sides_is_found_and_nothing_else(copy: tuple[np.ndarray, int], tmp_path: Path, capsys: Any) -> None:
    write_data(tmp_path, {"copy": copy})
    found, said = leaks(tmp_path, capsys)
    assert [each for each in found if not each[0].startswith("rate")] == [("near_duplicate", "copy", "r0-0")]
    assert "1 leaks (1 near_duplicate)" in said and "near_duplicate copy and r0-0" in said and "--allow" in said


def test_what_was_found_is_kept_for_other_folds_of_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    _, folds = write_data(tmp_path, {"copy": COPIES["gain"]})
    leaks(tmp_path, capsys)
    assert len(list((tmp_path / "store").glob("*/duplicates-*.json"))) == 1
    monkeypatch.setattr("finetune.guard.duplicates.landmarks", None)
    assert leaks(tmp_path, capsys)[0] == [("near_duplicate", "copy", "r0-0")]
    # On one side of every border a copy is no leak.
    same = folds["clip_id"].isin(["r0-0", "r0-1", "r3-0", "r3-1"])
    folds.loc[same, ["fold", *(f"role_{k}" for k in range(FOLDS))]] = folds.loc[folds["clip_id"] == "copy"].iloc[0, 3:].to_list()
    folds.to_csv(tmp_path / "folds.csv", index=False)
    assert main(arguments(tmp_path))["leaks"] == 0


def test_equal_samples_are_found_without_the_search_for_near_duplicates(tmp_path: Path, capsys: Any) -> None:
    write_data(tmp_path, {"copy": (ORIGINAL, 8000)})
    found, said = leaks(tmp_path, capsys, "--near_duplicates", "false")
    assert found == [("exact_duplicate", "copy", "r0-0")]
    assert "in fold 0 train and held-out" not in said and "in fold 0 validation and held-out" in said


def test_a_copy_in_another_manifest_is_found(clean: Path, tmp_path: Path, capsys: Any) -> None:
    other = tmp_path / "other"
    other.mkdir()
    soundfile.write(other / "x.wav", 0.5 * ORIGINAL[3000:], 8000, subtype="PCM_16")
    pd.DataFrame([{"clip_id": "x", "path": str(other / "x.wav"), "recording": "x"}]).to_csv(other / "manifest.csv", index=False)
    found, said = leaks(clean, capsys, "--against", str(other / "manifest.csv"), "--store", str(tmp_path / "store"))
    assert [each[:2] for each in found] == [("near_duplicate", "r0-0")] and str(other / "manifest.csv") in found[0][2]
    assert "held-out" in said


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


@pytest.mark.parametrize(("column", "code"), [("device", "device_tells_label"), ("sample_rate", "rate_tells_label")])
def test_a_recorder_that_tells_the_label_is_warned_of(column: str, code: str, clean: Path, tmp_path: Path, capsys: Any) -> None:
    table, folds = (pd.read_csv(clean / name) for name in ("manifest.csv", "folds.csv"))
    table[column] = np.where(table["wheeze"] == 1, 44100, 4000)
    save(tmp_path, table, folds)
    main(arguments(tmp_path, "--store", str(clean / "store")))
    assert findings(tmp_path) == [(code, "normal", ""), (code, "wheeze", "")]
    assert "Cramér's V 1.00" in capsys.readouterr().err


def test_a_label_without_positives_in_a_fold_is_warned_of(clean: Path, tmp_path: Path) -> None:
    table, folds = (pd.read_csv(clean / name) for name in ("manifest.csv", "folds.csv"))
    table.loc[folds["fold"] == 2, "crackle"] = 0
    save(tmp_path, table, folds)
    assert main(arguments(tmp_path, "--store", str(clean / "store")))["warnings"] == 1
    assert findings(tmp_path) == [("label_without_positives", "crackle", "")]


def test_cramers_v_is_that_of_scipy() -> None:
    from scipy.stats.contingency import association, crosstab

    random = np.random.default_rng(0)
    device, label = random.integers(0, 4, 300), random.integers(0, 2, 300)
    expected = association(crosstab(device, label).count, method="cramer")
    assert cramers_v(device, label) == pytest.approx(expected)


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


def tensor(samples: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(samples).float()


def alike(one: torch.Tensor, other: torch.Tensor) -> float:
    """The highest coherence of the two over their candidate lags; 0 where there is none."""
    *_, shared = candidates([landmarks(one), landmarks(other)])
    return max((coherence(one, other, lag)[0] for _, lag in shared), default=0.0)


@settings(deadline=None, max_examples=25)
@given(
    patient=st.integers(0, 1000),
    gain_db=st.floats(-40, 20),
    cut=st.integers(0, 3 * RATE),
    end=st.integers(0, RATE // 2),
    noise_db=st.floats(30, 60),
    swapped=st.booleans(),
)
def test_any_gain_and_cut_is_known_again(patient: int, gain_db: float, cut: int, end: int, noise_db: float, swapped: bool) -> None:
    original = breathing(patient, 0, rate=RATE)
    noise = np.random.default_rng(patient).standard_normal(len(original)) * original.std() * 10 ** (-noise_db / 20)
    copy = (10 ** (gain_db / 20) * (original + noise))[cut : len(original) - end]
    pair = (tensor(copy), tensor(original)) if swapped else (tensor(original), tensor(copy))
    assert alike(*pair) >= LIMIT


@settings(deadline=None, max_examples=25)
@given(patient=st.integers(0, 1000), other=st.integers(0, 1000), seconds=st.floats(1.0, 20.0))
def test_no_two_breaths_are_taken_for_copies(patient: int, other: int, seconds: float) -> None:
    breath = tensor(breathing(patient, 0, seconds, RATE))
    for unlike in (breathing(patient, 1, 20.0, RATE), breathing(other + 2000, 0, 20.0, RATE)):
        assert alike(breath, tensor(unlike)) < LIMIT
        # Also at lags that the landmarks do not propose.
        assert max(coherence(breath, tensor(unlike), lag)[0] for lag in range(-600, 10, 60)) < LIMIT


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
    main(["report", "--run", str(run), "--resamples", "10"])
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
