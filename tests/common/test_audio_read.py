"""Reading recordings: every depth, container, rate and channel count; anything else is a UserError."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from made_flac import without_length

from common.audio import read as read_module
from common.audio.read import decodable_frames, read_audio, read_blocks, read_header, to_mono
from common.errors import UserError

# Encoding -> largest error of a sample in [-1, 1) after writing and reading; OGG is lossy.
STEPS = {"PCM_U8": 2**-7, "PCM_S8": 2**-7, "PCM_16": 2**-15, "PCM_24": 2**-23, "PCM_32": 2**-24, "FLOAT": 2**-24, "DOUBLE": 2**-24}
CONTAINERS = [
    *[("WAV", encoding) for encoding in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")],
    *[("FLAC", encoding) for encoding in ("PCM_S8", "PCM_16", "PCM_24")],
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("audio")


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(CONTAINERS),
    st.sampled_from([4000, 8000, 10000, 44100, 48000, 12345]),
    st.integers(1, 6),
    st.integers(1, 4000),
    st.integers(0, 2**32 - 1),
)
def test_any_depth_rate_and_channel_count_comes_back(folder, container, sample_rate, channels, frames, seed):
    container_format, encoding = container
    path = folder / f"sound.{container_format.lower()}"
    waveform = np.random.default_rng(seed).uniform(-0.99, 0.99, (frames, channels))
    soundfile.write(path, waveform, sample_rate, subtype=encoding, format=container_format)
    header = read_header(path)
    assert (header.sample_rate, header.channels, header.frames, header.encoding) == (sample_rate, channels, frames, encoding)
    assert header.duration_s == frames / sample_rate
    read, rate = read_audio(path)
    assert rate == sample_rate and read.dtype == np.float32 and read.shape == (channels, frames)
    np.testing.assert_allclose(read, waveform.T, atol=STEPS[encoding])
    np.testing.assert_allclose(to_mono(read), waveform.mean(axis=1), atol=STEPS[encoding] + 1e-6)


@pytest.mark.parametrize("suffix", ["ogg", "oga"])
def test_ogg_keeps_a_tone(folder, suffix):
    tone = 0.5 * np.sin(2 * np.pi * 300 * np.arange(16000) / 8000)
    path = folder / f"tone.{suffix}"
    soundfile.write(path, tone, 8000, format="OGG", subtype="VORBIS")
    waveform, sample_rate = read_audio(path)
    assert sample_rate == 8000 and waveform.shape == (1, 16000)
    assert np.abs(waveform[0, 800:-800] - tone[800:-800]).max() < 0.1


def test_float_files_keep_what_is_beyond_full_scale_or_not_finite(folder):
    samples = np.array([0.0, 2.5, -3.0, np.inf, np.nan], dtype=np.float32)
    soundfile.write(folder / "wild.wav", samples, 8000, subtype="FLOAT")
    np.testing.assert_array_equal(read_audio(folder / "wild.wav")[0][0], samples)


def test_full_scale_integers_stay_within_one(folder):
    soundfile.write(folder / "full.wav", np.array([-(2**15), 2**15 - 1], dtype=np.int16), 8000)
    np.testing.assert_array_equal(read_audio(folder / "full.wav")[0], np.array([[-1, 1 - 2**-15]], dtype=np.float32))


def test_opposite_channels_cancel_in_mono():
    np.testing.assert_array_equal(to_mono(np.array([[0.5, -0.25], [-0.5, 0.75]], dtype=np.float32)), [0.0, 0.25])


@pytest.mark.parametrize("content", [b"", b"RIFF", b"filename,normal\n0001.wav,1\n"])
def test_what_is_not_audio_is_named(folder, content):
    path = folder / "fake.wav"
    path.write_bytes(content)
    for read in (read_header, read_audio):
        with pytest.raises(UserError, match=r"fake\.wav does not open as audio .*expected WAV, FLAC or OGG"):
            read(path)


def test_a_missing_file_is_named(folder):
    for read in (read_header, read_audio):
        with pytest.raises(UserError, match=r"No file at .*nowhere\.wav"):
            read(folder / "nowhere.wav")


def test_a_streamed_flac_is_read_though_it_does_not_know_its_length(folder):
    waveform = 0.1 * np.random.default_rng(0).standard_normal((20000, 2)).clip(-4, 4)
    soundfile.write(folder / "whole.flac", waveform, 8000)
    path = folder / "streamed.flac"
    path.write_bytes(without_length((folder / "whole.flac").read_bytes()))
    header = read_header(path)
    assert (header.sample_rate, header.frames, header.duration_s) == (8000, None, None)
    np.testing.assert_array_equal(read_audio(path)[0], read_audio(folder / "whole.flac")[0])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=r"streamed\.flac does not open as audio \(flac decoder lost sync\)"):
        read_audio(path)
    assert 5000 < decodable_frames(path) < 11000


def test_a_recording_longer_than_a_block_is_put_together(folder, monkeypatch):
    monkeypatch.setattr(read_module, "BLOCK_FRAMES", 1000)
    for frames in (999, 1000, 1001, 3500):
        samples = np.random.default_rng(frames).integers(-20000, 20000, (frames, 2), dtype=np.int16)
        soundfile.write(folder / "long.wav", samples, 8000)
        np.testing.assert_array_equal(read_audio(folder / "long.wav")[0], samples.T / np.float32(32768))


@pytest.mark.parametrize("frames", [1, 7, 100, 1000])
def test_blocks_put_together_are_the_recording(folder, frames):
    path = folder / "blocks.flac"
    soundfile.write(path, np.random.default_rng(0).integers(-(2**15), 2**15, (100, 2)).astype(np.int16), 8000)
    blocks = list(read_blocks(path, frames))
    whole, sample_rate = read_audio(path)
    assert np.array_equal(np.concatenate([block for block, _ in blocks], axis=1), whole)
    assert max(block.shape[1] for block, _ in blocks) == min(frames, 100) and {rate for _, rate in blocks} == {sample_rate}


def test_blocks_of_what_is_not_audio_are_refused(folder):
    (folder / "text.wav").write_text("not audio")
    with pytest.raises(UserError, match="does not open as audio"):
        list(read_blocks(folder / "text.wav"))


def _wav_bytes() -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.linspace(-0.5, 0.5, 64), 8000, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 43), st.integers(0, 255)), min_size=1, max_size=6), st.integers(0, 172))
def test_a_damaged_header_is_read_or_refused_but_never_crashes(folder, changes, length):
    content = bytearray(_wav_bytes())
    for position, value in changes:
        content[position] = value
    path = folder / "damaged.wav"
    path.write_bytes(bytes(content[:length]))
    try:
        header = read_header(path)
        waveform, sample_rate = read_audio(path)
    except UserError as error:
        assert "damaged.wav" in str(error)
        return
    assert header.sample_rate == sample_rate > 0 and 0 <= header.duration_s < float("inf")
    assert waveform.shape[0] == header.channels and waveform.shape[1] <= header.frames
