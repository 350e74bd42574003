"""Copies of a sound on two sides of a fold's border: exact ones, near ones, and breaths that are none."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_breaths import COPIES, FOLDS, ORIGINAL, arguments, breathing, leaks, write_data

from finetune.__main__ import main
from finetune.guard.coherence import LIMIT, coherence
from finetune.guard.landmarks import RATE, candidates, landmarks


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sound data in a folder that no test writes to."""
    folder = tmp_path_factory.mktemp("clean")
    write_data(folder)
    return folder


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
