"""The quality flags: what is silent, clipped, constant, too short or not finite, and what is none of these."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from common.audio.quality import CLIPPED, CONSTANT, NOT_FINITE, SILENT, TOO_SHORT, flag_names, quality_flags

RATE = 8000


def noise(seconds: float = 2.0, seed: int = 0, corner_hz: float = 300.0) -> Tensor:
    """Breath-like noise of RMS 0.05: [T]."""
    count = round(seconds * RATE)
    spectrum = torch.fft.rfft(torch.randn(count, generator=torch.Generator().manual_seed(seed)))
    frequency = torch.fft.rfftfreq(count, 1 / RATE)
    x = torch.fft.irfft(spectrum / (1 + (frequency / corner_hz) ** 2), count)
    return 0.05 * x / x.std()


def sine(frequency_hz: float, seconds: float = 2.0) -> Tensor:
    return torch.sin(2 * math.pi * frequency_hz * torch.arange(round(seconds * RATE)) / RATE)


def judge(waveform: Tensor, rate: int = RATE) -> int:
    return int(quality_flags(waveform.unsqueeze(0), torch.tensor([len(waveform)]), rate))


def quantised(waveform: Tensor, bits: int = 16) -> Tensor:
    steps = 2 ** (bits - 1)
    return torch.round(waveform * steps).clamp(-steps, steps - 1) / steps


def test_sound_waveforms_have_no_flag() -> None:
    assert judge(noise()) == 0
    assert judge(quantised(noise() / noise().abs().max() * 0.9999)) == 0


def test_silence_is_up_to_one_step_of_16_bit() -> None:
    dither = torch.randint(-1, 2, (RATE,)) / 32768
    assert judge(torch.zeros(RATE)) == SILENT
    assert judge(dither) == SILENT
    assert judge(4 * dither) == 0


def test_a_flat_line_that_is_not_at_zero_is_constant() -> None:
    dither = torch.randint(-1, 2, (RATE,)) / 32768
    assert judge(torch.full((RATE,), 0.25)) == CONSTANT
    assert judge(dither - 0.1) == CONSTANT
    assert judge(dither * 8 - 0.1) == 0


def test_too_short_is_under_a_tenth_of_a_second() -> None:
    assert judge(noise()[: RATE // 10]) == 0
    assert judge(noise()[: RATE // 10 - 1]) == TOO_SHORT
    assert judge(noise()[:0]) == TOO_SHORT


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_bad_number_is_found_and_nothing_else_is_judged(value: float) -> None:
    x = torch.zeros(RATE)
    x[17] = value
    assert judge(x) == NOT_FINITE


@pytest.mark.parametrize("level", [1.0, 0.5, 0.03])
@pytest.mark.parametrize("deviations", [1.0, 2.0, 2.5])
def test_clipping_is_found_at_any_level(level: float, deviations: float) -> None:
    x = (noise() / 0.05 / deviations).clamp(-1, 1)
    assert judge(quantised(level * x)) == CLIPPED
    assert judge(level * x) == CLIPPED


def test_clipping_on_one_side_only_is_found() -> None:
    x = noise()
    assert judge(x.clamp(max=0.1)) == CLIPPED
    assert judge(x.clamp(min=-0.1)) == CLIPPED


def test_a_clipped_sine_is_found_even_where_every_period_has_the_same_samples() -> None:
    assert judge((2 * sine(50)).clamp(-1, 1)) == CLIPPED
    assert judge((0.5 * sine(50)).clamp(-0.3, 0.3)) == CLIPPED
    assert judge(torch.sign(sine(50) + 1e-3)) == CLIPPED


@settings(max_examples=60, deadline=None)
@given(
    steps=st.floats(1.5, 32767),
    frequency_hz=st.floats(20, 3999),
    phase=st.floats(0, 2 * math.pi),
    offset=st.integers(-3000, 3000),
)
def test_no_unclipped_tone_is_called_clipped_however_quiet(steps: float, frequency_hz: float, phase: float, offset: int) -> None:
    time = torch.arange(RATE, dtype=torch.float64) / RATE
    x = torch.round(steps * torch.sin(2 * math.pi * frequency_hz * time + phase)) + offset
    assert not judge((x / 65536).float()) & CLIPPED


@settings(max_examples=40, deadline=None)
@given(level=st.floats(1e-4, 1), seed=st.integers(0, 1000), corner_hz=st.floats(50, 3000), bits=st.sampled_from([8, 16, 24]))
def test_no_unclipped_noise_is_called_clipped_however_quiet(level: float, seed: int, corner_hz: float, bits: int) -> None:
    x = noise(1.0, seed, corner_hz)
    assert not judge(quantised(level * x / x.abs().max() * 0.99, bits)) & CLIPPED


def test_what_lies_beyond_the_length_is_ignored_and_examples_do_not_matter_to_each_other() -> None:
    rows = [noise(), torch.zeros(2 * RATE), (20 * noise()).clamp(-1, 1), torch.full((2 * RATE,), 0.5), noise(seed=1)]
    lengths = torch.tensor([2 * RATE, RATE, 2 * RATE - 5, 700, RATE])
    batch = torch.stack(rows)
    for row, length in enumerate(lengths):
        batch[row, length:] = math.nan
    flags = quality_flags(batch, lengths, RATE)
    assert flags.tolist() == [0, SILENT, CLIPPED, CONSTANT | TOO_SHORT, 0]
    assert flags.dtype == torch.int64
    alone = [judge(batch[row, :length]) for row, length in enumerate(lengths)]
    assert alone == flags.tolist()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_scripted_function_says_the_same() -> None:
    scripted = torch.jit.script(quality_flags)
    broken = noise()
    broken[3] = math.nan
    batch = torch.stack([noise(), torch.zeros(2 * RATE), (20 * noise()).clamp(-1, 1), torch.full((2 * RATE,), 0.5), broken])
    for lengths in (torch.full((5,), 2 * RATE), torch.tensor([5, 0, 9000, 12000, 1])):
        assert torch.equal(scripted(batch, lengths, RATE), quality_flags(batch, lengths, RATE))
    assert scripted(batch[:, :0], torch.zeros(5, dtype=torch.int64), RATE).tolist() == [TOO_SHORT] * 5
    assert scripted(batch[:0], torch.zeros(0, dtype=torch.int64), RATE).tolist() == []


def test_a_graph_without_branches_says_the_same() -> None:
    class Judge(torch.nn.Module):
        def forward(self, waveform: Tensor, lengths: Tensor) -> Tensor:
            return quality_flags(waveform, lengths, RATE)

    rows = [
        noise(),
        torch.zeros(2 * RATE),
        (20 * noise()).clamp(-1, 1),
        torch.full((2 * RATE,), 0.5),
        noise(seed=1),
        noise().clamp(max=0.1),
    ]
    rows[4][3] = math.nan
    batch, whole = torch.stack(rows), torch.full((6,), 2 * RATE)
    any_size = ({0: torch.export.Dim("B"), 1: torch.export.Dim("T", min=2)}, {0: torch.export.Dim("B")})
    graph = torch.export.export(Judge(), (batch, whole), dynamic_shapes=any_size, strict=False).module()
    for waveforms, lengths in ((batch, whole), (batch, torch.tensor([5, 0, 9000, 12000, 2, 16000])), (rows[0][None], whole[:1])):
        assert torch.equal(graph(waveforms, lengths), quality_flags(waveforms, lengths, RATE))
    few = torch.tensor([2, 1, 0, 2, 2, 2])
    assert torch.equal(graph(batch[:, :2], few), quality_flags(batch[:, :2], few, RATE))


def test_flags_have_names() -> None:
    assert flag_names(CLIPPED | TOO_SHORT) == ["clipped", "too_short"]
    assert flag_names(0) == []
