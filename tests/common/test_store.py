"""The waveform store: what it keeps, what it notices, what survives a kill, and how it is read."""

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from common.__main__ import main
from common.errors import UserError
from common.manifest import Clip, read_manifest, to_table, write_manifest
from common.store import build as build_module
from common.store import decode as decode_module
from common.store import index as index_module
from common.store.decode import decode, quantise
from common.store.index import AUDIO_NAME, Index, absolute_paths, store_folder
from common.store.waveforms import ClipIndex, WaveformStore
from common.windows import fill_index

RATE = 4000
PROJECT = Path(__file__).resolve().parents[2]


def noise(seconds: float, seed: int, rate: int = RATE) -> np.ndarray:
    """16-bit noise as the integers that a WAV file holds."""
    return np.random.default_rng(seed).integers(-20000, 20000, round(seconds * rate), dtype=np.int16)


def manifest_of(folder: Path, clips: list[Clip]) -> Path:
    write_manifest(folder / "manifest.csv", to_table(clips))
    return folder / "manifest.csv"


def recordings(folder: Path, number: int, seconds: float = 0.2, rate: int = RATE) -> Path:
    """``number`` WAV files of noise, seed = their number, and a manifest with one clip for each."""
    clips = []
    for number_of in range(number):
        path = folder / f"{number_of}.wav"
        soundfile.write(path, noise(seconds, number_of, rate), rate)
        clips.append(Clip(clip_id=f"clip {number_of}", path=str(path), recording=path.stem))
    return manifest_of(folder, clips)


def run_store(manifest: Path, rate: int = RATE) -> dict:
    return main(["store", "--manifest", str(manifest), "--out", str(manifest.parent / "store"), "--sample-rate", str(rate)])


def open_store(manifest: Path, rate: int = RATE, **options: bool) -> tuple[WaveformStore, ClipIndex]:
    table = read_manifest(manifest)
    store = WaveformStore.open(manifest.parent / "store", table, rate, workers=0, **options)
    return store, store.clips(table)


def read_whole(store: WaveformStore, clips: ClipIndex, row: int) -> np.ndarray:
    one = clips[torch.tensor([row])]
    return store.read(one, torch.tensor([0]), int(one.length), "pad")[0].numpy()


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


# What is kept.


def test_16_bit_at_the_native_rate_is_kept_exactly(tmp_path: Path) -> None:
    samples = np.concatenate([noise(0.1, 0), np.array([-32768, 32767, 0, 1, -1], dtype=np.int16)])
    soundfile.write(tmp_path / "a.wav", samples, RATE)
    store, clips = open_store(manifest_of(tmp_path, [Clip("a", str(tmp_path / "a.wav"), "a")]))
    np.testing.assert_array_equal(read_whole(store, clips, 0), samples / np.float32(32768))


@pytest.mark.parametrize("gain", [1e-42, 1e-30, 1e-5, 1.0, 1e5])
def test_other_audio_keeps_its_resolution_whatever_its_level(gain: float) -> None:
    waveform = (np.random.default_rng(0).standard_normal(4000) * gain).astype(np.float32)
    samples, scale = quantise(waveform)
    error = np.abs(samples.astype(np.float64) * scale - waveform).max()
    assert error <= scale * 0.50001
    assert gain < 1e-38 or scale == pytest.approx(np.abs(waveform).max() / 32767, rel=1e-6)


def test_silence_is_kept() -> None:
    samples, scale = quantise(np.zeros(100, np.float32))
    assert scale > 0
    assert not samples.any()


def test_channels_are_averaged(tmp_path: Path) -> None:
    left, right = noise(0.1, 1), noise(0.1, 2)
    soundfile.write(tmp_path / "a.flac", np.stack([left, right], axis=1), RATE)
    samples, scale = decode(tmp_path / "a.flac", RATE)
    expected = (left.astype(float) + right) / 2 / 32768
    assert np.abs(samples * scale - expected).max() <= scale * 0.51


def test_resampling_keeps_a_tone_and_removes_what_would_alias(tmp_path: Path) -> None:
    second = np.arange(44100) / 44100
    soundfile.write(tmp_path / "low.wav", 0.5 * np.sin(2 * np.pi * 500 * second), 44100, subtype="FLOAT")
    soundfile.write(tmp_path / "high.wav", 0.5 * np.sin(2 * np.pi * 2300 * second), 44100, subtype="FLOAT")
    low, high = (samples * scale for samples, scale in (decode(tmp_path / f"{name}.wav", RATE) for name in ("low", "high")))
    assert len(low) == RATE
    inside = slice(200, -200)
    expected = 0.5 * np.sin(2 * np.pi * 500 * np.arange(RATE) / RATE)
    assert np.abs(low - expected)[inside].max() < 1e-4
    assert np.abs(high[inside]).max() < 1e-4


def test_real_recordings_are_kept_exactly_at_their_rate(shared_data: Path) -> None:
    path = min((shared_data / "sprsound" / "train_audio").iterdir())
    expected, rate = soundfile.read(path, dtype="int16")
    samples, scale = decode(path, rate)
    np.testing.assert_array_equal(samples, expected)
    assert scale == 2**-15


# When it is built, and what it notices.


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
    monkeypatch.setattr(build_module.shutil, "disk_usage", lambda path: SimpleNamespace(free=2 * 4000 * 2 - 1))
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


# Reading.


@pytest.fixture(scope="module")
def small_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[WaveformStore, ClipIndex, list[np.ndarray]]]:
    """Recordings of 1 to 50 samples, quantised with different scales, and what each must read as."""
    folder = tmp_path_factory.mktemp("store")
    clips, expected = [], []
    for number, length in enumerate([1, 2, 3, 7, 20, 50, 33]):
        waveform = (np.random.default_rng(number).standard_normal(length) * 10.0**-number).astype(np.float32)
        soundfile.write(folder / f"{number}.wav", waveform, RATE, subtype="FLOAT")
        clips.append(Clip(str(number), str(folder / f"{number}.wav"), str(number)))
        samples, scale = quantise(waveform)
        expected.append(samples * np.float32(scale))
    store, index = open_store(manifest_of(folder, clips))
    yield store, index, expected


def naive(clip: np.ndarray, offset: int, num_samples: int, mode: str) -> list[float]:
    taken = []
    for position in range(offset, offset + num_samples):
        if mode == "repeat":
            taken.append(clip[position % len(clip)])
        else:
            taken.append(clip[position] if 0 <= position < len(clip) else 0.0)
    return taken


rows_and_offsets = st.lists(st.tuples(st.integers(0, 6), st.integers(-70, 140)), min_size=1, max_size=8)


@given(drawn=rows_and_offsets, num_samples=st.integers(1, 60), mode=st.sampled_from(["repeat", "pad"]))
def test_reading_a_batch_equals_a_loop_over_clips(small_store: tuple, drawn: list, num_samples: int, mode: str) -> None:
    store, clips, expected = small_store
    rows, offsets = torch.tensor(drawn).T
    waveform = store.read(clips[rows], offsets, num_samples, mode)
    assert waveform.dtype == torch.float32
    loop = np.array([naive(expected[row], offset, num_samples, mode) for row, offset in drawn], np.float32)
    np.testing.assert_array_equal(waveform.numpy(), loop)
    # The accelerator's way to read is the gather alone.
    gathered = store._gather(clips[rows], offsets, num_samples, mode)
    np.testing.assert_array_equal(gathered.numpy(), loop)


@pytest.mark.parametrize("mode", ["repeat", "pad"])
def test_a_short_clip_is_filled_as_in_evaluation_and_export(small_store: tuple, mode: str) -> None:
    store, clips, expected = small_store
    padded = torch.zeros(len(clips), 50)
    for row, waveform in enumerate(expected):
        padded[row, : len(waveform)] = torch.from_numpy(waveform)
    read = store.read(clips, torch.zeros(len(clips), dtype=torch.int64), 40, mode)
    index = fill_index(40, clips.length, mode)
    assert torch.equal(read, torch.where(index >= 0, padded.gather(1, index.clamp(min=0)), 0.0))


def test_an_unknown_fill_is_refused(small_store: tuple) -> None:
    store, clips, _ = small_store
    with pytest.raises(UserError, match="'mirror': expected 'repeat' or 'pad'"):
        store.read(clips, torch.zeros(len(clips), dtype=torch.int64), 10, "mirror")


@pytest.mark.parametrize("mode", ["repeat", "pad"])
def test_reading_on_a_device_never_waits_for_it(tmp_path: Path, mode: str) -> None:
    """The meta device refuses every operation whose result the host would have to look at."""
    store, clips = open_store(recordings(tmp_path, 2))
    assert store.to("meta").device.type == "meta"
    waveform = store.read(
        clips.to("meta")[torch.tensor([1, 0], device="meta")], torch.zeros(2, dtype=torch.int64, device="meta"), 1000, mode
    )
    assert (waveform.shape, waveform.device.type, waveform.dtype) == ((2, 1000), "meta", torch.float32)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("mode", ["repeat", "pad"])
def test_a_gpu_reads_the_same_without_waiting(tmp_path: Path, mode: str) -> None:
    store, clips = open_store(recordings(tmp_path, 5))
    rows, offset = torch.tensor([4, 0, 2, 2]), torch.tensor([0, 3, 700, 1000])
    expected = store.read(clips[rows], offset, 1200, mode)
    assert store.fits("cuda")
    on_device: list[Tensor] = [rows.cuda(), offset.cuda()]
    store, clips = store.to("cuda"), clips.to("cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        waveform = store.read(clips[on_device[0]], on_device[1], 1200, mode)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(waveform.cpu(), expected)


def test_samples_stay_in_the_mapped_file(tmp_path: Path) -> None:
    store, _ = open_store(recordings(tmp_path, 2))
    address = store._audio.data_ptr()
    mapped = [line for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith(AUDIO_NAME)]
    assert any(
        int(borders.split("-")[0], 16) <= address < int(borders.split("-")[1], 16) for borders in (line.split()[0] for line in mapped)
    )


def test_another_process_maps_the_file_again(tmp_path: Path) -> None:
    store, clips = open_store(recordings(tmp_path, 2, seconds=5))
    pickled = pickle.dumps(store)
    assert len(pickled) < 5000, "the samples must not travel"
    np.testing.assert_array_equal(read_whole(pickle.loads(pickled), clips, 1), read_whole(store, clips, 1))


def test_the_processor_always_fits(small_store: tuple) -> None:
    store, _, _ = small_store
    assert store.fits("cpu")
    assert not store.fits("meta")
    assert store.num_bytes == 2 * (1 + 2 + 3 + 7 + 20 + 50 + 33)


# Clip borders.


def borders(folder: Path, *clips: tuple[float, float | None]) -> ClipIndex:
    soundfile.write(folder / "long.wav", noise(1.0, 0), RATE)
    path = str(folder / "long.wav")
    return open_store(manifest_of(folder, [Clip(f"{start} to {end}", path, "long", start, end) for start, end in clips]))[1]


def test_borders_are_rounded_to_samples_and_cut_at_the_end(tmp_path: Path) -> None:
    clips = borders(tmp_path, (0.0, None), (0.25, 0.5), (0.2501, 0.4999), (0.9, 7.0), (0.9998, None))
    assert clips.start.tolist() == [0, 1000, 1000, 3600, 3999]
    assert clips.length.tolist() == [4000, 1000, 1000, 400, 1]


@pytest.mark.parametrize("border", [(1.0, None), (2.0, 3.0), (0.5, 0.50001)])
def test_a_clip_without_samples_is_named(tmp_path: Path, border: tuple[float, float | None]) -> None:
    with pytest.raises(UserError, match=rf"Clip '{border[0]} to {border[1]}' has no samples: .*long\.wav, which lasts 1\.000 s"):
        borders(tmp_path, (0.0, 1.0), border)


def test_a_recording_that_was_not_opened_is_named(tmp_path: Path) -> None:
    store, _ = open_store(recordings(tmp_path, 1))
    other = pd.DataFrame({"clip_id": ["x"], "path": ["/elsewhere.wav"], "start_s": [0.0], "end_s": [1.0]})
    with pytest.raises(UserError, match=r"/elsewhere\.wav of clip 'x' is not in the waveform store"):
        store.clips(other)
