"""The resampler computes what torchaudio's does but for its rounding of phases, and what the service's does, in TorchScript too."""

import pytest
import torch
import torchaudio
from hypothesis import given, settings
from hypothesis import strategies as st

from common.audio.resample import KAISER_BETA, LOWPASS_FILTER_WIDTH, ROLLOFF, Resampler, resample, resampled_length
from serve.resample import resample as of_the_service

RATES = st.sampled_from([2000, 4000, 8000, 10000, 11025, 16000, 22050, 32000, 44100, 48000])


@settings(max_examples=60, deadline=None)
@given(from_hz=RATES, to_hz=RATES, samples=st.integers(1, 9000), seed=st.integers(0, 100))
def test_it_is_torchaudio_s(from_hz: int, to_hz: int, samples: int, seed: int) -> None:
    waveform = torch.randn(2, samples, generator=torch.Generator().manual_seed(seed))
    kind = {"lowpass_filter_width": LOWPASS_FILTER_WIDTH, "rolloff": ROLLOFF, "beta": KAISER_BETA}
    expected = torchaudio.transforms.Resample(from_hz, to_hz, resampling_method="sinc_interp_kaiser", **kind)(waveform)
    found = resample(waveform, from_hz, to_hz)
    assert found.shape[-1] == resampled_length(samples, from_hz, to_hz)
    # torchaudio rounds the filter's phases to float32, which moves them by up to 1e-7 of 64 zero crossings.
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(found, torch.from_numpy(of_the_service(waveform.numpy(), from_hz, to_hz)), atol=3e-6, rtol=0)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("shape", [(1001,), (3, 1001), (2, 3, 1001), (0, 1001), (3, 0)])
def test_any_shape_in_torchscript_too(shape: tuple[int, ...]) -> None:
    waveform = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    resampler = Resampler(48000, 4000)
    found = resampler(waveform)
    assert found.shape == (*shape[:-1], -(-shape[-1] // 12))
    torch.testing.assert_close(torch.jit.script(resampler)(waveform), found)


@pytest.mark.parametrize(("from_hz", "to_hz"), [(22050, 32000), (11025, 32000), (8000, 32000), (8000, 44100)])
def test_nothing_is_heard_above_the_sound_s_own_nyquist_frequency(from_hz: int, to_hz: int) -> None:
    """Of noise up to 0.4 of its rate what lies above 0.55 is under -140 dB; with phases in float32 it is -104 dB from 11.025 to 32 kHz."""
    seconds = torch.arange(2 * from_hz, dtype=torch.float64) / from_hz
    generator = torch.Generator().manual_seed(0)
    hz = torch.rand(40, generator=generator, dtype=torch.float64) * 0.4 * from_hz
    tones = torch.sin(2 * torch.pi * hz.unsqueeze(1) * seconds).mean(dim=0).float()
    resampled = resample(tones, from_hz, to_hz).double()
    power = torch.fft.rfft(resampled * torch.signal.windows.kaiser(len(resampled), beta=25, dtype=torch.float64)).abs() ** 2
    above = round(0.55 * from_hz * len(resampled) / to_hz)
    assert 10 * torch.log10(power[above:].max() / power[:above].max()) < -140
