"""Reading the waveform store: batches equal a loop over clips, on any device, and clip borders are checked."""

import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_store import RATE, manifest_of, noise, open_store, read_whole, recordings
from torch import Tensor

from common.errors import UserError
from common.manifest import Clip
from common.store.decode import quantise
from common.store.index import AUDIO_NAME
from common.store.waveforms import ClipIndex, WaveformStore
from common.windows import fill_index


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
