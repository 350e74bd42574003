"""One recording to the samples that the store keeps: exact where it can be, near enough elsewhere."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from made_store import RATE, manifest_of, noise, open_store, read_whole

from common.manifest import Clip
from common.store.decode import decode, quantise


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
