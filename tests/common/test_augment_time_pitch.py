"""Stretch, pitch shift and speed against what they should do to tones, events and crackles."""

import math

import pytest
import torch
from torch import Tensor

from common.augment import PitchShift, Speed, TimeStretch
from common.augment.time_pitch import smooth_length, vocode

RATE = 4000


def sine(frequency_hz: float, samples: int = 16000) -> Tensor:
    return torch.sin(2 * math.pi * frequency_hz * torch.arange(samples) / RATE).unsqueeze(0)


def peak_hz(x: Tensor) -> float:
    """Frequency of the strongest tone, by parabolic interpolation of the log spectrum."""
    power = torch.fft.rfft(x * torch.hann_window(len(x))).abs().log()
    k = int(power.argmax())
    left, top, right = power[k - 1 : k + 2].tolist()
    return (k + 0.5 * (left - right) / (left - 2 * top + right)) * RATE / len(x)


def purity(x: Tensor, frequency_hz: float) -> float:
    """Share of the energy within 6 bins of a tone."""
    power = torch.fft.rfft(x * torch.hann_window(len(x))).abs().square()
    k = round(frequency_hz * len(x) / RATE)
    return float(power[k - 6 : k + 7].sum() / power.sum())


def clicks(every: int, samples: int = 16000) -> Tensor:
    """Crackle-like events: decaying 350 Hz pulses of 5 ms, ``every`` samples apart."""
    time = torch.arange(24) / RATE
    pulse = torch.sin(2 * math.pi * 350 * time) * torch.exp(-time / 0.002)
    x = torch.zeros(1, samples)
    for start in range(every // 2, samples - 24, every):
        x[0, start : start + 24] = pulse
    return x


def events(x: Tensor) -> Tensor:
    """Positions of the events: strongest sample of each group over half of the maximum."""
    envelope = torch.nn.functional.avg_pool1d(x.square().view(1, 1, -1), 17, 1, 8)[0, 0]
    local = torch.nn.functional.max_pool1d(envelope.view(1, 1, -1), 401, 1, 200)[0, 0]
    found = torch.nonzero((envelope == local) & (envelope > 0.25 * envelope.max())).flatten()
    return found[torch.cat([torch.tensor([True]), found.diff() > 100])]


@pytest.mark.parametrize("semitones", [-4.0, -1.3, 0.0, 2.0, 4.0])
@pytest.mark.parametrize("frequency_hz", [110.0, 400.0, 1000.0, 1490.0])
def test_pitch_shift_moves_a_sine_by_its_semitones(frequency_hz: float, semitones: float) -> None:
    y = PitchShift(RATE, (-4.0, 4.0)).apply_draw(sine(frequency_hz), {"semitones": torch.tensor([semitones])})[0]
    moved_hz = frequency_hz * 2 ** (semitones / 12)
    assert peak_hz(y[1000:-1000]) == pytest.approx(moved_hz, rel=1e-3)
    assert purity(y[1000:-1000], moved_hz) > 0.999
    assert float(y[1000:-1000].square().mean()) == pytest.approx(0.5, rel=0.02)


def test_pitch_shift_lets_nothing_alias() -> None:
    y = PitchShift(RATE, (0.0, 4.0)).apply_draw(sine(1800.0), {"semitones": torch.tensor([4.0])})[0]
    assert float(y[1000:-1000].square().mean()) < 0.5e-4


@pytest.mark.parametrize("rate", [0.8, 1.0, 1.1, 1.25])
def test_stretch_keeps_a_sine_and_moves_events(rate: float) -> None:
    step = TimeStretch(RATE, (0.5, 2.0))
    draw = {"rate": torch.tensor([rate])}
    tone = step.apply_draw(sine(440.0), draw)[0]
    assert peak_hz(tone) == pytest.approx(440.0, rel=1e-3)
    spacing = events(step.apply_draw(clicks(every=2000), draw)[0, : int(15000 / rate)]).diff()
    assert len(spacing) >= 5
    assert spacing.tolist() == pytest.approx([2000 / rate] * len(spacing), abs=15)


def test_pitch_shift_keeps_events_where_they_were() -> None:
    x = clicks(every=2000)
    y = PitchShift(RATE, (-4.0, 4.0)).apply_draw(x, {"semitones": torch.tensor([-3.0])})
    assert events(y[0]).tolist() == pytest.approx(events(x[0]).tolist(), abs=15)


def test_each_example_has_its_own_rate() -> None:
    x = sine(300.0).expand(3, -1)
    y = PitchShift(RATE, (-6.0, 6.0)).apply_draw(x, {"semitones": torch.tensor([-5.0, 0.0, 5.0])})
    found = [peak_hz(row[1000:-1000]) for row in y]
    assert found == pytest.approx([300 * 2 ** (s / 12) for s in (-5, 0, 5)], rel=1e-3)


@pytest.mark.parametrize("samples", [100, 999, 16000])
def test_rate_one_and_zero_semitones_give_the_clip_back(samples: int) -> None:
    x = torch.randn(2, samples, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(vocode(x, torch.ones(2), samples, 256), x, atol=1e-3, rtol=0)
    tone = sine(200.0)
    same = PitchShift(RATE, (0.0, 0.0))(tone)
    torch.testing.assert_close(same[:, 100:-400], tone[:, 100:-400], atol=0.01, rtol=0)


def equivalent_ms(x: Tensor, count: float) -> float:
    """How long each of ``count`` events would last if its energy were spread evenly."""
    energy = torch.nn.functional.avg_pool1d(x.square().unsqueeze(1), 8, 1)[:, 0]
    return float(energy.sum() ** 2 / energy.square().sum() / count / RATE * 1000)


@pytest.mark.parametrize("rate", [0.85, 1.02, 1.15])
def test_crackles_stay_crackles(rate: float) -> None:
    """Without new phases at attacks, an event of 4 ms lasts 20 ms after stretching."""
    x = clicks(every=2000)
    before = equivalent_ms(x, 8)
    stretched = TimeStretch(RATE, (0.5, 2.0)).apply_draw(x, {"rate": torch.tensor([rate])})
    assert equivalent_ms(stretched, 8 * rate) < 1.6 * before
    shifted = PitchShift(RATE, (-4.0, 4.0)).apply_draw(x, {"semitones": torch.tensor([12 * math.log2(rate)])})
    assert equivalent_ms(shifted, 8) < 1.6 * before


def test_a_clip_played_fast_goes_on_from_its_beginning() -> None:
    x = clicks(every=2000)
    found = events(TimeStretch(RATE, (2.0, 2.0))(x)[0])
    assert len(found) == pytest.approx(16, abs=1)
    assert found.diff().tolist() == pytest.approx([1000] * (len(found) - 1), abs=45)


@pytest.mark.parametrize("speed", [0.7, 0.93, 1.0, 1.1, 1.9])
@pytest.mark.parametrize("frequency_hz", [100.0, 730.0, 1000.0])
def test_speed_multiplies_every_frequency(frequency_hz: float, speed: float) -> None:
    y = Speed((0.7, 1.9)).apply_draw(sine(frequency_hz), {"speed": torch.tensor([speed])})[0]
    kept = y[200 : int(15800 / max(speed, 1))]
    assert peak_hz(kept) == pytest.approx(frequency_hz * speed, rel=1e-3)
    time = torch.arange(16000) * speed / RATE
    exact = torch.sin(2 * math.pi * frequency_hz * time)[200 : int(15800 / max(speed, 1))]
    error_db = 10 * math.log10(float((kept - exact).square().mean() / 0.5))
    assert error_db < -45


def test_speed_lets_nothing_alias_and_leaves_clicks_sharp() -> None:
    step, draw = Speed((1.0, 1.2)), {"speed": torch.tensor([1.2])}
    assert float(step.apply_draw(sine(1800.0), draw).square().mean()) < 0.5e-4
    x = clicks(every=2000)
    assert equivalent_ms(step.apply_draw(x, draw), 8 * 1.2) < 1.1 * equivalent_ms(x, 8)


@pytest.mark.parametrize(("step", "name", "middle"), [(Speed((0.5, 2.0)), "speed", 1.0), (TimeStretch(RATE, (0.8, 1.25)), "rate", 1.0)])
def test_rates_are_as_often_slower_as_faster(step: Speed | TimeStretch, name: str, middle: float) -> None:
    drawn = step.draw(torch.empty(4000, 2), torch.Generator().manual_seed(0))[name]
    assert 0.45 < (drawn > middle).float().mean() < 0.55
    assert drawn.min() < 0.81
    assert drawn.max() > 1.24


@pytest.mark.parametrize("length", [1, 15, 17, 1000, 35_924, 100_003])
def test_smooth_lengths_have_small_factors(length: int) -> None:
    smooth = smooth_length(length)
    assert length <= smooth <= length * 9 / 8 + 1
    while smooth % 2 == 0:
        smooth //= 2
    assert smooth <= 15
