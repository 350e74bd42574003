"""Every front end against an independent implementation: librosa, torchaudio, nnAudio's own, scipy."""

import math

import librosa
import numpy as np
import pytest
import scipy.signal
import torch
import torchaudio
from made_waveforms import RATE, breath_like, noise

from common.frontends.cqt import Cqt
from common.frontends.gammatone import Gammatone, gammatone_weights
from common.frontends.kaldi_log_mel import KaldiLogMel, kaldi_mel_weights
from common.frontends.log_mel import LogMel
from common.frontends.mfcc import Mfcc
from common.frontends.panns_log_mel import PannsLogMel


def natural_log_mel(**options) -> LogMel:
    return LogMel(normalise="none", floor_db=-200, **options)


@pytest.mark.parametrize("engine", ["fft", "nnaudio"])
@pytest.mark.parametrize(("rate", "n_fft", "hop", "num_mels"), [(4000, 256, 64, 64), (16000, 1024, 160, 80)])
def test_log_mel_agrees_with_librosa_and_torchaudio(engine, rate, n_fft, hop, num_mels):
    waveform = noise(2, rate)
    front_end = natural_log_mel(sample_rate=rate, n_fft=n_fft, hop=hop, num_mels=num_mels, engine=engine)
    ours = front_end(waveform).squeeze(1)
    full_scale = (n_fft / 4) ** 2  # |X|^2 of a sine of amplitude 1 under a Hann window
    theirs = librosa.feature.melspectrogram(
        y=waveform.numpy(), sr=rate, n_fft=n_fft, hop_length=hop, n_mels=num_mels, fmin=50, fmax=rate / 2, pad_mode="reflect"
    )
    np.testing.assert_allclose(ours.numpy(), np.log(theirs / full_scale), atol=2e-4)
    transform = torchaudio.transforms.MelSpectrogram(
        rate, n_fft, hop_length=hop, f_min=50, f_max=rate / 2, n_mels=num_mels, norm="slaney", mel_scale="slaney"
    )
    torch.testing.assert_close(ours, torch.log(transform(waveform) / full_scale), atol=1e-3, rtol=0)


# In standard deviations of a clip. On 1/f^2 power the weakest bins lie 60 dB down, where float32 itself holds 1e-4.
@pytest.mark.parametrize(("make", "tolerance"), [(noise, 2e-5), (breath_like, 1e-3)])
def test_the_two_engines_agree(make, tolerance):
    waveform = make(4, 8000)
    torch.testing.assert_close(LogMel(engine="fft")(waveform), LogMel(engine="nnaudio")(waveform), atol=tolerance, rtol=0)


def test_auto_takes_the_fft_on_a_cpu(monkeypatch):
    front_end = LogMel(engine="auto")
    assert front_end.power_spectrum.stft is not None
    monkeypatch.setattr(front_end.power_spectrum.stft, "forward", lambda waveform: pytest.fail("convolved on a CPU"))
    front_end(noise(1, 1000))
    assert LogMel(engine="fft").power_spectrum.stft is None


def test_a_sine_at_full_scale_peaks_at_one():
    sine = torch.sin(2 * math.pi * 500 * torch.arange(4000) / RATE)[None]
    power = LogMel().power_spectrum(sine)[0, :, 10:-10]
    assert power.argmax(dim=0).unique().tolist() == [32]  # 500 Hz / 15.625 Hz
    torch.testing.assert_close(power[32], torch.ones_like(power[32]), atol=1e-4, rtol=0)


def test_mfcc_agrees_with_librosa_and_with_nnaudio():
    from nnAudio.features import MFCC

    waveform = noise(2, 8000)
    ours = Mfcc(num_coefficients=13, normalise="none", floor_db=-200)(waveform).squeeze(1)
    log_mel = natural_log_mel()(waveform).squeeze(1).numpy()
    theirs = librosa.feature.mfcc(S=log_mel, n_mfcc=13, dct_type=2, norm="ortho")
    np.testing.assert_allclose(ours.numpy(), theirs, atol=2e-4)
    options = {"n_fft": 256, "hop_length": 64, "n_mels": 64, "fmin": 50, "fmax": 2000}
    decibels = MFCC(sr=RATE, n_mfcc=13, top_db=None, verbose=False, **options)(waveform)
    # The unit (dB against nepers) scales all coefficients; the reference of full scale moves only the first.
    torch.testing.assert_close(ours[:, 1:], decibels[:, 1:] * math.log(10) / 10, atol=2e-3, rtol=0)


def test_cqt_agrees_with_librosa_and_finds_tones():
    options = {"hop": 64, "num_bins": 48, "bins_per_octave": 12, "f_min_hz": 80.0}
    front_end = Cqt(normalise="none", **options)
    waveform = noise(1, 16000)
    ours = np.exp(front_end(waveform)[0, 0].numpy() / 2)
    centres = 80 * 2 ** (np.arange(48) / 12)
    lengths = np.ceil(RATE / (2 ** (1 / 12) - 1) / centres)  # librosa gives white noise the same level in every bin, we give sines
    theirs = np.abs(librosa.cqt(waveform[0].numpy(), sr=RATE, hop_length=64, fmin=80.0, n_bins=48, pad_mode="reflect"))
    theirs *= 2 / np.sqrt(lengths)[:, None]
    assert ours.shape == theirs.shape
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.99
    assert min(np.corrcoef(mine, other)[0, 1] for mine, other in zip(ours, theirs, strict=True)) > 0.95
    np.testing.assert_allclose(ours.mean(axis=1), theirs.mean(axis=1), rtol=0.02)
    tones = torch.stack([torch.sin(2 * math.pi * hz * torch.arange(8000) / RATE) for hz in centres])
    level = front_end(tones)[:, 0, :, 40:-40].mean(dim=-1)
    assert level.argmax(dim=1).tolist() == list(range(48))
    assert level.diagonal().abs().max() < 0.05  # a sine at full scale is 0 dB in its bin


def test_gammatone_weights_are_the_response_of_scipys_filters():
    """Comparable is the magnitude response of each filter on the FFT's grid; the phase and the onset are not in a power spectrum."""
    weights = gammatone_weights(RATE, 256, 32, 100.0, 2000.0)
    assert weights.shape == (32, 129)
    grid = np.arange(129) * RATE / 256
    # Centres equally spaced on Slaney's ERB scale, the lowest at f_min_hz.
    corner = 9.26449 * 24.7
    centres = (2000 + corner) * np.exp(np.arange(1, 33)[::-1] * np.log((100 + corner) / (2000 + corner)) / 32) - corner
    for weight, centre in zip(weights, centres, strict=True):
        numerator, denominator = scipy.signal.gammatone(centre, "iir", fs=RATE)
        response = np.abs(scipy.signal.freqz(numerator, denominator, grid, fs=RATE)[1])
        np.testing.assert_allclose(np.sqrt(weight), response, atol=1e-3)


def test_gammatone_measures_the_energy_behind_scipys_filters():
    waveform = noise(1, 40000)
    spectrogram = Gammatone(num_filters=16, f_min_hz=100.0, normalise="none", floor_db=-200)(waveform)
    ours = 10 * spectrogram.exp().mean(dim=-1).log10().flatten().numpy()
    corner = 9.26449 * 24.7
    centres = (2000 + corner) * np.exp(np.arange(1, 17)[::-1] * np.log((100 + corner) / (2000 + corner)) / 16) - corner
    filtered = [scipy.signal.lfilter(*scipy.signal.gammatone(hz, "iir", fs=RATE), waveform[0].double().numpy()) for hz in centres]
    theirs = 10 * np.log10([np.mean(np.square(band)) for band in filtered])
    difference = ours - theirs
    # One constant apart: the window's noise bandwidth and the reference of full scale.
    assert np.abs(difference - difference.mean()).max() < 0.5


@pytest.mark.parametrize(
    ("rate", "n_fft", "num_mels", "f_min_hz", "f_max_hz"), [(32000, 1024, 128, 0.0, 15000.0), (4000, 256, 40, 50.0, 2000.0)]
)
def test_kaldi_mel_bands_agree_with_torchaudio(rate, n_fft, num_mels, f_min_hz, f_max_hz):
    ours = kaldi_mel_weights(rate, n_fft, num_mels, f_min_hz, f_max_hz)
    theirs, _ = torchaudio.compliance.kaldi.get_mel_banks(num_mels, n_fft, rate, f_min_hz, f_max_hz, 100.0, -500.0, 1.0)
    # torchaudio's mels are float32: an edge is some 1e-4 mel off, a triangle 20 mel wide.
    np.testing.assert_allclose(ours[:, :-1], theirs.numpy(), atol=5e-5)
    assert (ours[:, -1] == 0).all()


@pytest.mark.parametrize("engine", ["fft", "nnaudio"])
def test_kaldi_log_mel_agrees_with_scipy_step_by_step(engine):
    waveform = noise(2, 16000)
    ours = KaldiLogMel(engine=engine)(waveform).squeeze(1)
    emphasised = scipy.signal.lfilter([1, -0.97], [1], waveform.double().numpy())[:, 1:]
    framed = np.lib.stride_tricks.sliding_window_view(np.pad(emphasised, ((0, 0), (512, 512)), mode="reflect"), 1024, axis=1)[:, ::320]
    window = np.pad(scipy.signal.windows.hann(800, sym=True), 112)
    power = np.abs(np.fft.rfft(framed * window)) ** 2
    expected = (np.log(power @ kaldi_mel_weights(32000, 1024, 128, 0.0, 15000.0).T + 1e-5) + 4.5) / 5
    np.testing.assert_allclose(ours.numpy(), expected.transpose(0, 2, 1), atol=1e-4)


@pytest.mark.parametrize("engine", ["fft", "nnaudio"])
@pytest.mark.parametrize(("rate", "n_fft", "hop", "f_max_hz"), [(32000, 1024, 320, 14000), (16000, 512, 160, 8000), (8000, 256, 80, 4000)])
def test_panns_log_mel_agrees_with_librosa(engine, rate, n_fft, hop, f_max_hz):
    waveform = torch.cat((noise(2, rate // 2), torch.zeros(2, rate // 2)), dim=1)
    ours = PannsLogMel(rate, n_fft, hop, f_max_hz=f_max_hz, engine=engine)(waveform).squeeze(1)
    power = librosa.feature.melspectrogram(
        y=waveform.numpy(), sr=rate, n_fft=n_fft, hop_length=hop, n_mels=64, fmin=50, fmax=f_max_hz, pad_mode="reflect"
    )
    np.testing.assert_allclose(ours.numpy(), librosa.power_to_db(power, ref=1.0, amin=1e-10, top_db=None), atol=2e-3)
    assert ours.min() == pytest.approx(-100)


def test_engines_agree_on_real_recordings(shared_data):
    import soundfile

    for file in sorted((shared_data / "sprsound" / "train_audio").glob("*.flac"))[::200]:
        waveform, rate = soundfile.read(file, dtype="float32")
        resampled = torchaudio.functional.resample(torch.from_numpy(waveform)[None], rate, RATE)
        torch.testing.assert_close(LogMel(engine="fft")(resampled), LogMel(engine="nnaudio")(resampled), atol=1e-3, rtol=0)
