"""Building the waveform store: when it decodes, and what it notices."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from made_store import RATE, manifest_of, noise, open_store, read_whole, recordings, run_store

from common.manifest import Clip
from common.store import build as build_module
from common.store import decode as decode_module
from common.store import index as index_module


@pytest.fixture
def old_files_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made files are seconds old; treat them like recordings that have lain there for days."""
    monkeypatch.setattr(index_module, "YOUNG_NS", -1)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that a build reads to hash them."""
    paths: list[str] = []

    def counting(path: str, original: Callable[[str], str] = build_module.sha256_file) -> str:
        paths.append(Path(path).name)
        return original(path)

    monkeypatch.setattr(build_module, "sha256_file", counting)
    return paths


def test_the_command_decodes_once_and_gives_figures(tmp_path: Path, old_files_only: None, hashed: list[str]) -> None:
    manifest = recordings(tmp_path, 3, seconds=0.5)
    figures = run_store(manifest)
    assert figures.pop("seconds") >= 0
    expected = {"recordings": 3, "hours": round(1.5 / 3600, 4), "bytes": 3 * 2000 * 2, "decoded": 3, "reused": 0}
    assert figures == {**expected, "store": str(tmp_path / "store")}
    assert len(hashed) == 3
    again = run_store(manifest)
    assert (again["decoded"], again["reused"]) == (0, 3)
    assert len(hashed) == 3, "unchanged files are not read again"


def test_two_paths_to_the_same_content_are_decoded_once(tmp_path: Path) -> None:
    manifest = recordings(tmp_path, 1)
    (tmp_path / "copy.wav").write_bytes((tmp_path / "0.wav").read_bytes())
    clips = [Clip("a", str(tmp_path / "0.wav"), "0"), Clip("b", str(tmp_path / "copy.wav"), "copy")]
    manifest = manifest_of(tmp_path, clips)
    assert run_store(manifest)["decoded"] == 1
    _, index = open_store(manifest)
    assert index.start[0] == index.start[1]


def test_only_new_and_changed_files_are_decoded(tmp_path: Path, old_files_only: None, hashed: list[str]) -> None:
    manifest = recordings(tmp_path, 3)
    run_store(manifest)
    before, clips_before = open_store(manifest)
    recordings(tmp_path, 4)
    soundfile.write(tmp_path / "1.wav", noise(0.3, 77), RATE)
    hashed.clear()
    assert run_store(manifest)["decoded"] == 2
    store, clips = open_store(manifest)
    np.testing.assert_array_equal(read_whole(store, clips, 1), noise(0.3, 77) / np.float32(32768))
    np.testing.assert_array_equal(read_whole(store, clips, 2), noise(0.2, 2) / np.float32(32768))
    # A training run that opened the store earlier goes on reading what it opened.
    np.testing.assert_array_equal(read_whole(before, clips_before, 1), noise(0.2, 1) / np.float32(32768))


def test_samples_that_the_index_names_no_more_are_not_overwritten(tmp_path: Path, old_files_only: None) -> None:
    manifest = recordings(tmp_path, 2)
    before, clips_before = open_store(manifest)
    (tmp_path / "1.wav").write_bytes((tmp_path / "0.wav").read_bytes())
    assert run_store(manifest)["decoded"] == 0
    soundfile.write(tmp_path / "0.wav", noise(0.2, 77), RATE)
    assert run_store(manifest)["decoded"] == 1
    np.testing.assert_array_equal(read_whole(before, clips_before, 1), noise(0.2, 1) / np.float32(32768))
    store, clips = open_store(manifest)
    np.testing.assert_array_equal(read_whole(store, clips, 0), noise(0.2, 77) / np.float32(32768))
    np.testing.assert_array_equal(read_whole(store, clips, 1), noise(0.2, 0) / np.float32(32768))


def test_a_file_replaced_with_the_same_size_and_time_is_noticed(tmp_path: Path, old_files_only: None) -> None:
    manifest = recordings(tmp_path, 1)
    run_store(manifest)
    path = tmp_path / "0.wav"
    stat = path.stat()
    soundfile.write(tmp_path / "other.wav", noise(0.2, 99), RATE)
    (tmp_path / "other.wav").replace(path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    store, clips = open_store(manifest)
    np.testing.assert_array_equal(read_whole(store, clips, 0), noise(0.2, 99) / np.float32(32768))


def test_a_file_changed_within_its_clocks_tick_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (index_module, build_module):
        monkeypatch.setattr(module, "signature", lambda path: "same tick, same size")
    manifest = recordings(tmp_path, 1)
    run_store(manifest)
    soundfile.write(tmp_path / "0.wav", noise(0.2, 99), RATE)
    store, clips = open_store(manifest)
    np.testing.assert_array_equal(read_whole(store, clips, 0), noise(0.2, 99) / np.float32(32768))


def test_two_rates_and_other_settings_live_beside_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = recordings(tmp_path, 1, seconds=0.5)
    full, clips = open_store(manifest)
    half, half_clips = open_store(manifest, rate=RATE // 2)
    assert (full.sample_rate, half.sample_rate) == (RATE, RATE // 2)
    assert (int(clips.length), int(half_clips.length)) == (2000, 1000)
    assert open_store(manifest)[1].length == 2000
    monkeypatch.setattr(index_module, "SETTINGS", decode_module.SETTINGS + " changed")
    assert run_store(manifest)["decoded"] == 1


@pytest.mark.parametrize("rate", [44100, 48000])
def test_the_rate_of_the_files_is_kept_when_it_is_asked_for(tmp_path: Path, rate: int, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = recordings(tmp_path, 1, seconds=0.1, rate=rate)
    run_store(manifest, rate)
    assert "lower rate" not in capsys.readouterr().err
    store, clips = open_store(manifest, rate)
    np.testing.assert_array_equal(read_whole(store, clips, 0), noise(0.1, 0, rate) / np.float32(2**15))


def test_it_says_how_many_recordings_hold_nothing_up_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = recordings(tmp_path, 3, rate=8000)
    soundfile.write(tmp_path / "1.wav", noise(0.2, 1, 16000), 16000)
    soundfile.write(tmp_path / "2.wav", noise(0.2, 2, 4000), 4000)
    run_store(manifest, 16000)
    assert "2 of 3 recordings have a lower rate (from 4000 Hz) than the 16000 Hz asked for" in capsys.readouterr().err
    run_store(manifest, 4000)
    assert "lower rate" not in capsys.readouterr().err
