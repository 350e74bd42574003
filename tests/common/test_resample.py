"""The resampler computes what torchaudio's does, of any shape and in TorchScript too."""

import pytest
import torch
import torchaudio
from hypothesis import given, settings
from hypothesis import strategies as st

from common.audio.resample import KAISER_BETA, LOWPASS_FILTER_WIDTH, ROLLOFF, Resampler, resample, resampled_length

RATES = st.sampled_from([2000, 4000, 8000, 10000, 11025, 16000, 22050, 32000, 44100, 48000])


@settings(max_examples=60, deadline=None)
@given(from_hz=RATES, to_hz=RATES, samples=st.integers(1, 9000), seed=st.integers(0, 100))
def test_it_is_torchaudio_s(from_hz: int, to_hz: int, samples: int, seed: int) -> None:
    waveform = torch.randn(2, samples, generator=torch.Generator().manual_seed(seed))
    kind = {"lowpass_filter_width": LOWPASS_FILTER_WIDTH, "rolloff": ROLLOFF, "beta": KAISER_BETA}
    expected = torchaudio.transforms.Resample(from_hz, to_hz, resampling_method="sinc_interp_kaiser", **kind)(waveform)
    found = resample(waveform, from_hz, to_hz)
    assert found.shape[-1] == resampled_length(samples, from_hz, to_hz)
    torch.testing.assert_close(found, expected, atol=2e-6, rtol=0)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("shape", [(1001,), (3, 1001), (2, 3, 1001), (0, 1001), (3, 0)])
def test_any_shape_in_torchscript_too(shape: tuple[int, ...]) -> None:
    waveform = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    resampler = Resampler(48000, 4000)
    found = resampler(waveform)
    assert found.shape == (*shape[:-1], -(-shape[-1] // 12))
    torch.testing.assert_close(torch.jit.script(resampler)(waveform), found)
