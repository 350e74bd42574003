"""What building the waveform store refuses, in one sentence."""

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from made_store import RATE, noise, open_store, read_whole, recordings, run_store

from common.errors import UserError
from common.manifest import read_manifest
from common.store import build as build_module
from common.store.decode import decode
from common.store.index import AUDIO_NAME, Index, store_folder
from common.store.waveforms import WaveformStore


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = recordings(tmp_path, 1)

    def decode_and_change(path: str, sample_rate: int) -> tuple[np.ndarray, float]:
        decoded = decode(path, sample_rate)
        soundfile.write(path, noise(0.3, 5), RATE)
        return decoded

    monkeypatch.setattr(build_module, "decode", decode_and_change)
    with pytest.raises(UserError, match=r"0\.wav changed while it was being read"):
        open_store(manifest)
    monkeypatch.undo()
    store, clips = open_store(manifest)
    np.testing.assert_array_equal(read_whole(store, clips, 0), noise(0.3, 5) / np.float32(32768))


def test_a_store_that_may_not_be_built_says_what_it_lacks(tmp_path: Path) -> None:
    manifest = recordings(tmp_path, 2)
    with pytest.raises(UserError, match=r"lacks 2 recordings at 4000 Hz .*0\.wav first: build it with 'python -m common store'"):
        open_store(manifest, build=False)
    run_store(manifest)
    assert len(open_store(manifest, build=False)[1]) == 2
    soundfile.write(tmp_path / "1.wav", noise(0.2, 99), RATE)
    with pytest.raises(UserError, match=r"lacks 1 recordings .*1\.wav"):
        open_store(manifest, build=False)


def write_nan(path: Path) -> None:
    soundfile.write(path, np.array([0.0, np.nan, 0.5] * 100, np.float32), RATE, subtype="FLOAT")


def write_infinity_at_another_rate(path: Path) -> None:
    soundfile.write(path, np.array([0.0, np.inf, 0.5] * 100, np.float32), 3 * RATE, subtype="FLOAT")


def write_text(path: Path) -> None:
    path.write_text("this is not audio")


def write_no_samples(path: Path) -> None:
    soundfile.write(path, np.zeros(0, np.int16), RATE)


def write_no_file(path: Path) -> None:
    path.unlink()


def write_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("spoil", [write_nan, write_infinity_at_another_rate, write_text, write_no_samples, write_no_file, write_folder])
@pytest.mark.parametrize("workers", [0, 2])
def test_an_unusable_file_is_named(tmp_path: Path, spoil: Callable[[Path], None], workers: int) -> None:
    manifest = recordings(tmp_path, 3)
    spoil(tmp_path / "1.wav")
    with pytest.raises(UserError, match=r"1\.wav.*python -m common audit") as caught:
        WaveformStore.open(tmp_path / "store", read_manifest(manifest), RATE, workers=workers)
    assert str(caught.value).count(". ") == 0, "one sentence"
    # What was decoded before the fault was met is kept for the next attempt.
    assert set(Index.load(store_folder(tmp_path / "store", RATE))) <= {str(tmp_path / "0.wav"), str(tmp_path / "2.wav")}


def test_a_small_disk_is_refused_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = recordings(tmp_path, 2, seconds=1.0)
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=2 * 4000 * 2 - 1))
    monkeypatch.setattr(build_module, "decode", None)
    with pytest.raises(UserError, match=r"needs 0\.00 GB more, but its disk has 0\.00 GB free"):
        open_store(manifest)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    manifest = recordings(tmp_path, 1)
    (tmp_path / "store").write_text("a file where the folder should be")
    with pytest.raises(UserError, match="Cannot write the waveform store"):
        open_store(manifest)


def test_a_senseless_rate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="positive sample rate"):
        open_store(recordings(tmp_path, 1), rate=0)


def test_a_negative_number_of_workers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="0 or more workers, not -1"):
        build_module.build(tmp_path, [], RATE, -1)


def test_a_damaged_store_is_refused(tmp_path: Path) -> None:
    manifest = recordings(tmp_path, 1)
    run_store(manifest)
    target = store_folder(tmp_path / "store", RATE)
    os.truncate(target / AUDIO_NAME, 100)
    with pytest.raises(UserError, match=r"audio\.i16 is shorter than its index says: delete the folder"):
        open_store(manifest)
    (target / "index.parquet").write_bytes(b"no table")
    with pytest.raises(UserError, match=r"index\.parquet does not open: delete the folder"):
        open_store(manifest)
