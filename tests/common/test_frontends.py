"""Every front end against an independent implementation, and the promises that all of them make."""

import copy
import io
import math

import librosa
import numpy as np
import pytest
import scipy.signal
import torch
import torchaudio
from hypothesis import given, settings
from hypothesis import strategies as st

from common.described import build
from common.frontends.base import FrontEnd, LogCompression, exact_float32, standardise
from common.frontends.cqt import Cqt
from common.frontends.gammatone import Gammatone, gammatone_weights
from common.frontends.log_mel import LogMel, mel_weights
from common.frontends.mfcc import Mfcc

RATE = 4000
EACH = {
    "log_mel_fft": lambda: LogMel(engine="fft"),
    "log_mel_nnaudio": lambda: LogMel(engine="nnaudio"),
    "log_mel_auto_unnormalised": lambda: LogMel(normalise="none"),
    "mfcc": Mfcc,
    "gammatone": Gammatone,
    "cqt": lambda: Cqt(f_min_hz=100, num_bins=40),
}


@pytest.fixture(params=EACH, scope="module")
def front_end(request) -> FrontEnd:
    return EACH[request.param]()


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def breath_like(num_clips: int, num_samples: int) -> torch.Tensor:
    """Noise whose power falls as 1/f^2, as that of lungs does, at most 0.5."""
    spectrum = torch.fft.rfft(noise(num_clips, num_samples))
    waveform = torch.fft.irfft(spectrum / torch.arange(1, spectrum.shape[1] + 1), num_samples)
    return 0.5 * waveform / waveform.abs().amax(dim=1, keepdim=True)


# What all of them promise.


def test_shape_and_attributes(front_end):
    waveform = noise(3, 5000)
    spectrogram = front_end(waveform)
    assert spectrogram.shape == (3, 1, front_end.num_bins, front_end.num_frames(5000))
    assert spectrogram.dtype == torch.float32
    assert front_end.num_frames(5000) == 1 + 5000 // front_end.hop
    assert 0 < front_end.f_min_hz < front_end.f_max_hz <= front_end.sample_rate / 2


def test_a_clip_does_not_depend_on_its_batch(front_end):
    batch = noise(4, 4000) * torch.tensor([[1.0], [1e-4], [0.0], [5.0]])
    together = front_end(batch)
    for index in range(4):
        torch.testing.assert_close(together[index : index + 1], front_end(batch[index : index + 1]), atol=1e-5, rtol=1e-5)


def test_a_broken_clip_spoils_only_itself(front_end):
    batch = noise(2, 4000)
    batch[0, 100] = math.nan
    spectrogram = front_end(batch)
    assert spectrogram[0].isnan().any()
    assert spectrogram[1].isfinite().all()


def test_silence_is_finite_and_so_is_its_gradient(front_end):
    waveform = torch.zeros(2, 4000)
    waveform[1, 2000:] = noise(2000)
    waveform.requires_grad_()
    spectrogram = front_end(waveform)
    assert spectrogram.isfinite().all()
    (spectrogram * torch.randn_like(spectrogram)).sum().backward()
    assert waveform.grad.isfinite().all()
    assert waveform.grad[1].abs().max() > 0


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.*torch.jit.*:DeprecationWarning")
def test_trace_is_exact_for_other_batches_and_lengths(front_end):
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(front_end, noise(2, 6000)), file)
    file.seek(0)
    traced = torch.jit.load(file)
    for batch, num_samples in ((1, front_end.min_samples), (2, 4001), (3, 6000), (4, 9999), (5, 2048)):
        waveform = noise(batch, num_samples, seed=batch)
        torch.testing.assert_close(traced(waveform), front_end(waveform), atol=1e-5, rtol=1e-5)


def test_nothing_of_it_enters_a_checkpoint(front_end):
    assert front_end.state_dict() == {}
    assert list(front_end.parameters()) == []
    assert copy.deepcopy(front_end).state_dict() == {}


def test_autocast_and_low_precision_do_not_reach_it(front_end):
    waveform = breath_like(2, 4000)
    expected = front_end(waveform)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(front_end(waveform), expected)
    finally:
        torch.set_float32_matmul_precision(before)
    assert front_end(waveform.bfloat16()).dtype == torch.float32


def test_description_rebuilds_it(front_end):
    waveform = noise(1, 4000)
    assert torch.equal(build(front_end.describe(), FrontEnd)(waveform), front_end(waveform))


def test_too_short_is_refused_and_the_shortest_is_taken(front_end):
    front_end(noise(1, front_end.min_samples))
    with pytest.raises(ValueError, match=f"at least {front_end.min_samples} samples"):
        front_end(noise(1, front_end.min_samples - 1))
    with pytest.raises(ValueError, match="expected \\[B, T\\]"):
        front_end(noise(front_end.min_samples))


@pytest.mark.parametrize("make", [LogMel, Gammatone, Mfcc, Cqt])
def test_gain_does_not_change_a_normalised_clip(make):
    waveform = breath_like(1, 8000)
    torch.testing.assert_close(make()(waveform), make()(waveform / 300), atol=2e-3, rtol=0)


@settings(max_examples=25, deadline=None)
@given(num_samples=st.integers(129, 3000), seed=st.integers(0, 1000), gain=st.floats(1e-6, 1.0))
def test_log_mel_of_any_clip_is_standardised(num_samples, seed, gain):
    front_end = LogMel(engine="fft")
    spectrogram = front_end(gain * noise(1, num_samples, seed=seed))
    assert spectrogram.shape[-1] == front_end.num_frames(num_samples)
    assert abs(float(spectrogram.mean())) < 1e-4
    assert abs(float(spectrogram.std(correction=0)) - 1) < 1e-3


# The precision guard.


def test_exact_float32_restores_what_it_found_also_after_an_error():
    torch.backends.cudnn.allow_tf32 = True
    deterministic = torch.backends.cudnn.deterministic
    try:
        torch.backends.cudnn.deterministic = True
        with pytest.raises(RuntimeError, match="inside"), exact_float32("cuda"):
            assert torch.backends.cudnn.conv.fp32_precision == "ieee"
            assert torch.backends.cuda.matmul.fp32_precision == "ieee"
            assert torch.backends.cudnn.enabled and torch.backends.cudnn.deterministic
            raise RuntimeError("inside")
        assert torch.backends.cudnn.allow_tf32 and torch.backends.cudnn.deterministic
    finally:
        torch.backends.cudnn.deterministic = deterministic


def test_every_front_end_runs_inside_the_guard():
    class Spy(FrontEnd):
        sample_rate, hop, min_samples = RATE, 1, 1

        def spectrogram(self, waveform):
            self.seen = torch.backends.mkldnn.matmul.fp32_precision, torch.is_autocast_enabled("cpu")
            return waveform[:, None]

    spy = Spy()
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        with torch.autocast("cpu", dtype=torch.bfloat16):
            spy(noise(1, 10))
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert spy.seen == ("ieee", False)


# Against others.


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


# Wrong settings.


@pytest.mark.parametrize(
    ("settings_", "reason"),
    [
        ({"f_max_hz": 3000.0}, "f_max_hz is 3000 Hz"),
        ({"f_min_hz": 2000.0}, "f_min_hz is 2000 Hz"),
        ({"f_min_hz": -1.0}, "f_min_hz is -1 Hz"),
        ({"sample_rate": 0}, "sample_rate is 0"),
        ({"hop": 0}, "hop is 0"),
        ({"hop": 300}, "hop is 300"),
        ({"n_fft": 255}, "n_fft is 255"),
        ({"num_mels": 0}, "number of filters is 0"),
        ({"num_mels": 128, "n_fft": 128}, "16 of 128 mel bands hold no bin of the FFT, the first is band 1 \\(63 to 88 Hz\\)"),
        ({"engine": "gpu"}, "engine is 'gpu'"),
        ({"normalise": "batch"}, "normalise is 'batch'"),
        ({"floor_db": 3.0}, "floor_db is 3"),
    ],
)
def test_log_mel_refuses(settings_, reason):
    with pytest.raises(ValueError, match=reason):
        LogMel(**settings_)


def test_other_refusals():
    with pytest.raises(ValueError, match="num_coefficients is 65"):
        Mfcc(num_coefficients=65)
    with pytest.raises(ValueError, match=r"66 bins of 12 per octave from 50 Hz: f_max_hz is 2135\.74 Hz"):
        Cqt(num_bins=66)
    with pytest.raises(ValueError, match="f_min_hz is 0 Hz"):
        Cqt(f_min_hz=0)
    with pytest.raises(ValueError, match="number of filters is 0"):
        Gammatone(num_filters=0)


def test_every_mel_band_of_the_defaults_is_filled():
    assert (mel_weights(4000, 256, 64, 50.0, 2000.0).sum(axis=1) > 0).all()


def test_settings_reach_what_they_name():
    waveform = breath_like(1, 4000)
    assert LogMel(hop=32)(waveform).shape[-1] == 126
    assert LogMel(num_mels=40)(waveform).shape[2] == 40
    assert not torch.equal(LogMel(floor_db=-30)(waveform), LogMel()(waveform))
    assert LogMel(normalise="none")(torch.zeros(1, 1000)).unique().tolist() == pytest.approx([math.log(1e-12)])
    assert LogCompression().eps == 1e-6
    assert standardise(torch.full((1, 3, 4), 7.0)).abs().max() == 0


def test_engines_agree_on_real_recordings(shared_data):
    import soundfile

    for file in sorted((shared_data / "sprsound" / "train_audio").glob("*.flac"))[::200]:
        waveform, rate = soundfile.read(file, dtype="float32")
        resampled = torchaudio.functional.resample(torch.from_numpy(waveform)[None], rate, RATE)
        torch.testing.assert_close(LogMel(engine="fft")(resampled), LogMel(engine="nnaudio")(resampled), atol=1e-3, rtol=0)
