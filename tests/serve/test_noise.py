"""The warning of noise only: what is noise, what is not, and where it is said."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from serve.noise import FRAME_S, fluctuation, is_steady_noise
from tests.serve.serving import Serving, wav

RATES = [2000, 4000, 8000, 11025, 44100]


def noise(seed: int, seconds: float, rate: int, slope: float = 0.0) -> np.ndarray:
    """Gaussian noise float32 [T] whose power falls with frequency to the power of ``slope``."""
    samples = round(seconds * rate)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(samples))
    frequency = np.maximum(np.fft.rfftfreq(samples, 1 / rate), 20)
    shaped = np.fft.irfft(spectrum * frequency ** (-slope / 2), samples)
    return (0.1 * shaped / np.abs(shaped).max()).astype(np.float32)


def breaths(seconds: float, rate: int) -> np.ndarray:
    """How a breath swells, 15 times a minute: 0 to 1 [T]."""
    return np.sin(np.pi * 0.25 * np.arange(round(seconds * rate)) / rate).astype(np.float32) ** 2


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.floats(4.1, 30.0), st.sampled_from(RATES), st.sampled_from([0.0, 1.0, 2.0, 3.0]))
def test_noise_of_any_colour_is_noise_and_breaths_in_it_are_not(seed: int, seconds: float, rate: int, slope: float) -> None:
    heard = noise(seed, seconds, rate, slope)
    assert is_steady_noise(heard, rate)
    assert is_steady_noise(1e-3 * heard, rate), "loudness must not matter"
    assert not is_steady_noise(heard * breaths(seconds, rate), rate)
    # Breaths as loud as the noise round them.
    assert not is_steady_noise(heard + noise(seed + 1, seconds, rate, slope) * 2 * breaths(seconds, rate), rate)


def test_the_variance_is_that_of_the_theory() -> None:
    """Over an hour of noise the estimate is sharp: a wrong factor for the taper or the bandwidth would show."""
    assert fluctuation(noise(0, 3600, 4000), 4000) == pytest.approx(np.ones(4), abs=0.07)
    assert fluctuation(noise(1, 3600, 4000, 2.0), 4000) == pytest.approx(np.ones(4), abs=0.07)


def test_octaves_that_a_recording_does_not_have_are_left_out() -> None:
    assert np.isnan(fluctuation(noise(0, 10, 1000), 1000)).tolist() == [False, False, False, True]
    assert np.isnan(fluctuation(np.zeros(8000, np.float32), 4000)).all()
    assert not is_steady_noise(np.zeros(40_000, np.float32), 4000)


def test_what_is_not_finite_or_too_short_is_not_judged_as_noise() -> None:
    heard = noise(0, 8, 4000)
    heard[100:8000] = np.nan
    assert not is_steady_noise(heard, 4000), "half of it is silence"
    assert not is_steady_noise(noise(0, 4 - FRAME_S, 4000), 4000)


def test_the_service_warns_and_answers_all_the_same(service: Serving) -> None:
    heard = noise(0, 6, 8000)
    steady, breathing, silent, short = service.predict(
        wav(heard, 8000), wav(heard * breaths(6, 8000), 8000), wav(np.zeros(48_000), 8000), wav(heard[:8000], 8000)
    ).json()["results"]
    assert [result["warnings"] for result in (steady, breathing, silent, short)] == [["noise_only"], [], [], []]
    assert steady["status"] == "ok" and steady["labels"] and silent["flags"] == ["silent"]
    assert service.metric('auscult_flags_total{flag="noise_only"}') == 1


def test_real_recordings_are_not_taken_for_noise(shared_data: Path) -> None:
    files = sorted((shared_data / "sprsound" / "train_audio").glob("*.flac"))[::50]
    judged = [is_steady_noise(*soundfile.read(file, dtype="float32")) for file in files]
    assert len(judged) > 30 and not any(judged)
