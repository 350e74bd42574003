"""Building the waveform store: when it decodes, what it notices, what it refuses, and what survives a kill."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from filelock import FileLock
from made_store import RATE, manifest_of, noise, open_store, read_whole, recordings, run_store

from common.errors import UserError
from common.manifest import Clip, read_manifest
from common.store import build as build_module
from common.store import decode as decode_module
from common.store import index as index_module
from common.store.decode import decode
from common.store.index import AUDIO_NAME, Index, absolute_paths, store_folder
from common.store.waveforms import WaveformStore

PROJECT = Path(__file__).resolve().parents[2]


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


def test_two_rates_and_other_settings_live_beside_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = recordings(tmp_path, 1, seconds=0.5)
    full, clips = open_store(manifest)
    half, half_clips = open_store(manifest, rate=RATE // 2)
    assert (full.sample_rate, half.sample_rate) == (RATE, RATE // 2)
    assert (int(clips.length), int(half_clips.length)) == (2000, 1000)
    assert open_store(manifest)[1].length == 2000
    monkeypatch.setattr(index_module, "SETTINGS", decode_module.SETTINGS + " changed")
    assert run_store(manifest)["decoded"] == 1


def test_a_store_that_may_not_be_built_says_what_it_lacks(tmp_path: Path) -> None:
    manifest = recordings(tmp_path, 2)
    with pytest.raises(UserError, match=r"lacks 2 recordings at 4000 Hz .*0\.wav first: build it with 'python -m common store'"):
        open_store(manifest, build=False)
    run_store(manifest)
    assert len(open_store(manifest, build=False)[1]) == 2
    soundfile.write(tmp_path / "1.wav", noise(0.2, 99), RATE)
    with pytest.raises(UserError, match=r"lacks 1 recordings .*1\.wav"):
        open_store(manifest, build=False)


# What it refuses.


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


# Interruption and company.


def test_a_killed_build_goes_on_where_it_was(tmp_path: Path) -> None:
    manifest = recordings(tmp_path, 40)
    slowly = "\n".join(
        [
            "import sys, time",
            "from common.__main__ import main",
            "from common.store import build",
            "decode, build.COMMIT_EVERY_S = build.decode, 0",
            "build.decode = lambda *arguments: (time.sleep(0.1), decode(*arguments))[1]",
            "main(sys.argv[1:])",
        ]
    )
    arguments = ["store", "--manifest", str(manifest), "--out", str(tmp_path / "store"), "--sample-rate", str(RATE)]
    process = subprocess.Popen([sys.executable, "-c", slowly, *arguments], cwd=PROJECT, stdout=subprocess.PIPE)
    target = store_folder(tmp_path / "store", RATE)
    while len(Index.load(target)) < 5:
        assert process.poll() is None, "the build ended before it could be killed"
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    # The odd byte is what a kill in the middle of a write can leave.
    with (target / AUDIO_NAME).open("ab") as audio:
        audio.write(b"\x00\x01\x02")
    figures = run_store(manifest)
    assert 0 < figures["decoded"] <= 35
    store, clips = open_store(manifest)
    for row in range(40):
        np.testing.assert_array_equal(read_whole(store, clips, row), noise(0.2, row) / np.float32(32768))


def test_two_builders_at_once_do_the_work_once(tmp_path: Path) -> None:
    paths = absolute_paths(read_manifest(recordings(tmp_path, 60)))
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(build_module.build, tmp_path / "store", paths, 1000, 2) for _ in range(2)]
    assert sorted(one.result()[1] for one in both) == [0, 60]
    assert both[0].result()[0] == both[1].result()[0]
    store, clips = open_store(tmp_path / "manifest.csv", rate=1000)
    for row in (0, 59):
        samples, scale = decode(tmp_path / f"{row}.wav", 1000)
        np.testing.assert_array_equal(read_whole(store, clips, row), samples * np.float32(scale))


def test_a_builder_waits_for_the_one_at_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = recordings(tmp_path, 1)
    target = store_folder(tmp_path / "store", RATE)
    target.mkdir(parents=True)
    with ThreadPoolExecutor(1) as pool:
        with FileLock(target / build_module.LOCK_NAME):
            figures = pool.submit(run_store, manifest)
            time.sleep(0.3)
            assert not figures.done()
        assert figures.result()["decoded"] == 1
    assert "Another process is building" in capsys.readouterr().err


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
