"""Leakage: 0 where embeddings say nothing of device or patient, 1 where they say all, and nothing where nobody can tell."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from common.manifest import groups, read_manifest, write_manifest
from pretrain.__main__ import main
from pretrain.monitor.leakage import device_leakage, leakage, patient_leakage
from pretrain.monitor.probing import few_patients
from pretrain.patients import chosen

PATIENTS, RECORDINGS, CLIPS = 24, 3, 2


@pytest.fixture
def table() -> pd.DataFrame:
    """24 patients of 3 recordings of 2 clips, 3 devices that a patient keeps."""
    number = np.arange(PATIENTS * RECORDINGS * CLIPS)
    patient = number // (RECORDINGS * CLIPS)
    return pd.DataFrame(
        {
            "patient": [f"p{each}" for each in patient],
            "recording": [f"r{each}" for each in number // CLIPS],
            "device": [f"d{each}" for each in patient % 3],
        }
    )


def noise(table: pd.DataFrame, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((len(table), 8))


def one_hot(column: pd.Series) -> np.ndarray:
    return pd.get_dummies(column).to_numpy(dtype=float)


def test_embeddings_that_are_the_device_give_it_away(table: pd.DataFrame) -> None:
    assert leakage(one_hot(table["device"]) + 0.1 * np.resize(noise(table), (len(table), 3)), table)["leak_device"] == 1


def test_knowing_the_patient_does_not_tell_a_new_patient_s_device(table: pd.DataFrame) -> None:
    """A split within patients would tell all: every patient keeps a device."""
    found = leakage(one_hot(table["patient"]), table)
    assert found["leak_device"] < 0.3 and found["leak_patient"] == 1


def test_noise_is_at_chance(table: pd.DataFrame) -> None:
    found = [leakage(noise(table, seed), table) for seed in range(20)]
    for name in ("leak_device", "leak_patient"):
        assert abs(np.mean([each[name] for each in found])) < 0.06, name


def test_clips_of_one_recording_do_not_find_each_other(table: pd.DataFrame) -> None:
    """Embeddings that know the recording alone find the patient by chance only."""
    embeddings = np.random.default_rng(0).standard_normal((len(table) // CLIPS, 16)).repeat(CLIPS, axis=0)
    assert abs(leakage(embeddings, table)["leak_patient"]) < 0.15


def slow_patient_leakage(embeddings: np.ndarray, patient: list[str], recording: list[str]) -> float:
    hits, chances = [], []
    for i, x in enumerate(embeddings):
        others = [j for j in range(len(embeddings)) if recording[j] != recording[i]]
        own = [j for j in others if patient[j] == patient[i]]
        if own:
            best = max(others, key=lambda j: float(x @ embeddings[j] / np.linalg.norm(x) / np.linalg.norm(embeddings[j])))
            hits.append(best in own)
            chances.append(len(own) / len(others))
    return (np.mean(hits) - np.mean(chances)) / (1 - np.mean(chances))


def test_patients_are_found_as_the_definition_says() -> None:
    random = np.random.default_rng(3)
    patient = random.choice(["a", "b", "c", "d"], 40)
    recording = np.array([f"{each}{random.integers(3)}" for each in patient])
    embeddings = random.standard_normal((40, 5)) + 2 * one_hot(pd.Series(patient)) @ random.standard_normal((4, 5))
    expected = slow_patient_leakage(embeddings, list(patient), list(recording))
    assert patient_leakage(embeddings, patient, recording) == pytest.approx(expected) and expected > 0.05


def test_what_nobody_can_tell_is_left_out(table: pd.DataFrame) -> None:
    embeddings = noise(table)
    assert leakage(embeddings, table.assign(device="", patient="")) == {}
    assert set(leakage(embeddings, table.assign(device="one"))) == {"leak_patient"}
    assert set(leakage(embeddings, table.assign(recording=table["patient"]))) == {"leak_device"}
    assert patient_leakage(embeddings, np.full(len(table), "p"), table["recording"].to_numpy()) is None
    # A device of one patient is left out, with its clips: there is nobody else to tell it on.
    lonely = np.where(table["patient"] == "p0", "lonely", np.where(table["patient"] < "p3", "d0", "d1"))
    assert device_leakage(one_hot(pd.Series(lonely)), lonely, table["patient"].to_numpy()) == 1
    unknown = np.where(table["patient"] < "p3", "", "d1")
    assert device_leakage(embeddings, unknown, table["patient"].to_numpy()) is None


def test_few_patients_are_whole_but_for_the_last(table: pd.DataFrame) -> None:
    places = few_patients(table, 20)
    assert len(places) == 20 and (np.diff(places) > 0).all()
    counts = table["patient"].iloc[places].value_counts()
    assert sorted(counts) == [2, 6, 6, 6]
    assert len(few_patients(table, 10**6)) == len(table)


def test_a_run_logs_leakage_on_its_validation_clips(made: Path, tmp_path: Path) -> None:
    table = read_manifest(made / "manifest.csv")
    # Two of the patients that go to validation have each device.
    kept = sorted(set(table["patient"][chosen(groups(table), 0.5, "validation")]))
    table["device"] = np.where(table["patient"].isin(kept[:2]), "one", "two")
    write_manifest(tmp_path / "manifest.csv", table)
    arguments = ["--data.manifest", str(tmp_path / "manifest.csv"), "--data.store", str(made / "store"), "--out", str(tmp_path / "run")]
    options = ["--data.validation_share", "0.5", "--data.probe_every_epochs", "2", "--trainer.max_epochs", "3"]
    figures: Any = main(["fit", "-c", str(made / "tiny.yaml"), *arguments, *options])
    metrics = pd.read_csv(tmp_path / "run" / "metrics.csv")
    for name in ("val/leak_device", "val/leak_patient"):
        logged = metrics[metrics["metric"] == name]
        assert logged["epoch"].tolist() == [1, 2] and logged["value"].between(-1, 1).all()
        assert figures[name.replace("/", "_")] == logged["value"].iloc[-1]
