"""Stacked front ends and the band-pass: against the parts themselves, scipy's filter, and the encoders that read them."""

import numpy as np
import pytest
import scipy.signal
import torch
from made_waveforms import RATE, breath_like, noise

from common.encoders import Cnn1d, Cnn2d, Crnn
from common.frontends import BandPass, KaldiLogMel, LogMel, Mfcc, Stacked
from common.frontends.base import standardise

EDGES = [(100.0, 1800.0), (200.0, 400.0), (None, 500.0), (150.0, None)]


def butterworth(edges: tuple[float | None, float | None], order: int) -> np.ndarray:
    low, high = edges
    if low is None or high is None:
        return scipy.signal.butter(order, high or low, "lowpass" if low is None else "highpass", fs=RATE, output="sos")
    return scipy.signal.butter(order, (low, high), "bandpass", fs=RATE, output="sos")


@pytest.mark.parametrize("edges", EDGES)
@pytest.mark.parametrize("order", [2, 4])
def test_band_pass_is_scipys_filter_both_ways_over_the_mirrored_clip(edges: tuple[float | None, float | None], order: int) -> None:
    waveform = noise(2, 1001).numpy().astype(np.float64)
    mirrored = np.concatenate((waveform, waveform[:, ::-1]), axis=1)
    both_ways = scipy.signal.sosfiltfilt(butterworth(edges, order), np.tile(mirrored, (1, 9)), axis=1)
    found = BandPass(LogMel(), *edges, order=order).filtered(torch.from_numpy(waveform).float())
    np.testing.assert_allclose(found, both_ways[:, 8 * 1001 : 9 * 1001], atol=1e-6)


@pytest.mark.parametrize("edges", EDGES)
def test_band_pass_is_scipys_filter_both_ways_but_at_the_ends(edges: tuple[float | None, float | None]) -> None:
    waveform = noise(1, 8000)
    expected = scipy.signal.sosfiltfilt(butterworth(edges, 4), waveform.double().numpy())
    np.testing.assert_allclose(BandPass(LogMel(), *edges).filtered(waveform)[:, 1000:-1000], expected[:, 1000:-1000], atol=1e-5)


def test_band_pass_takes_out_what_lies_outside_and_leaves_the_rest_in_place() -> None:
    time = torch.arange(8000) / RATE
    inside, hum, offset = torch.sin(2 * torch.pi * 400 * time), torch.sin(2 * torch.pi * 50 * time), torch.ones(8000)
    found = BandPass(LogMel(), 200.0, 1000.0).filtered((inside + hum + 3 * offset)[None])
    assert (found[0] - inside)[200:-200].abs().max() < 1e-2
    assert torch.equal(BandPass(LogMel(), 200.0)(inside[None]), LogMel()(BandPass(LogMel(), 200.0).filtered(inside[None])))


def test_stacked_holds_each_part_standardised_in_its_order() -> None:
    parts = [LogMel(normalise="none"), Mfcc(num_coefficients=13), LogMel(n_fft=512, num_mels=40)]
    waveform = breath_like(2, 5000)
    stacked = Stacked(parts)
    assert stacked.num_bins == 64 + 13 + 40 and stacked.min_samples == 257 and stacked.bin_hz is None
    expected = torch.cat([standardise(part(waveform)) for part in parts], dim=2)
    torch.testing.assert_close(stacked(waveform), expected)
    assert torch.equal(Stacked(parts, normalise="none")(waveform), torch.cat([part(waveform) for part in parts], dim=2))


@pytest.mark.parametrize("num_coefficients", [1, 13, 40, 64])
def test_coefficients_as_a_sequence_and_as_a_picture(num_coefficients: int) -> None:
    front_end = Mfcc(num_coefficients=num_coefficients)
    coefficients = front_end(breath_like(2, 4000))
    sequence = Cnn1d(num_bins=front_end.num_bins, channels=(8, 16)).eval()
    assert sequence(coefficients).shape == (2, 16)
    first = next(module for module in sequence.modules() if isinstance(module, torch.nn.Conv1d))
    assert first.in_channels == num_coefficients, "one channel per coefficient, convolved over time"
    if num_coefficients >= 4:
        assert Cnn2d((4, 8))(coefficients).shape == (2, 8)
        assert Crnn((4, 8), hidden=4)(coefficients).shape == (2, 8)


def test_kaldis_own_features_of_the_spectrogram_transformer() -> None:
    """The settings in docs/pretraining.md for Gong et al.'s weights, against torchaudio's Kaldi with the settings of their code."""
    from torchaudio.compliance import kaldi

    # Loud, so that no band comes near the floor, which Kaldi has as a maximum and we as a sum.
    waveform = 100 * noise(1, 16000)

    def difference(remove_dc_offset: bool) -> torch.Tensor:
        fbank = kaldi.fbank(
            waveform, sample_frequency=16000, htk_compat=True, window_type="hanning", num_mel_bins=128, remove_dc_offset=remove_dc_offset
        )
        expected = (fbank.T + 4.2677393) / (2 * 4.5689974)
        return (found - expected[:, 1:]).abs()

    front_end = KaldiLogMel(16000, 512, 400, 160, 128, 20.0, 8000.0, log_offset=1.2e-7, mean=-4.2677393, scale=9.1379948)
    # Kaldi's frames begin at multiples of the hop and ours are centred on them: these begin at the same samples.
    found = front_end(waveform[:, 39:])[0, 0, :, 2:99]
    assert difference(remove_dc_offset=False).max() < 1e-3
    # Their code takes the mean out of each frame, which changes the lowest bands (20 to 150 Hz) of noise and little else.
    assert difference(remove_dc_offset=True)[5:].mean() < 1e-3
