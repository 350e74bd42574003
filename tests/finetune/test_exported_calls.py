"""Calls of the exported file: any batch, length and rate, and no row's answer depends on another's."""

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from made_noise import noise

from common.audio.quality import CLIPPED, CONSTANT, NOT_FINITE, SILENT, TOO_SHORT

RATE = 4000


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(lengths=[1, 1, 6], rate=44100, seed=1).via("clips of one sample are constant once they are repeated to fill a window")
@given(
    lengths=st.lists(st.integers(1, 9000), min_size=1, max_size=4),
    rate=st.sampled_from([4000, 8000, 11025, 44100]),
    seed=st.integers(0, 100),
)
def test_an_answer_does_not_depend_on_the_rest_of_the_batch(
    model: torch.jit.ScriptModule, lengths: list[int], rate: int, seed: int
) -> None:
    waveforms = [noise(length, seed=seed + number) for number, length in enumerate(lengths)]
    batch = torch.full((len(lengths), max(lengths) + 7), 9.0)
    for row, waveform in zip(batch, waveforms, strict=True):
        row[: len(waveform)] = waveform
    with torch.inference_mode():
        together, flags = model(batch, rate, torch.tensor(lengths))
        for number, waveform in enumerate(waveforms):
            alone, alone_flags = model(waveform[None], rate)
            torch.testing.assert_close(together[number], alone[0], atol=1e-5, rtol=0)
            assert flags[number] == alone_flags[0]


def test_faults_are_flagged_and_answered_with_finite_numbers(model: torch.jit.ScriptModule) -> None:
    good, silent, constant, not_finite, short = (noise(2 * RATE) for _ in range(5))
    silent[:], constant[:], not_finite[100] = 0.0, 0.25, torch.nan
    clipped = (3 * torch.sin(torch.arange(2 * RATE) * 0.31)).clamp(-1, 1)
    lengths = torch.tensor([2 * RATE] * 4 + [int(0.05 * RATE), 2 * RATE])
    probabilities, flags = model(torch.stack([good, silent, constant, not_finite, short, clipped]), RATE, lengths)
    assert flags.tolist() == [0, SILENT, CONSTANT, NOT_FINITE, TOO_SHORT, CLIPPED]
    assert torch.isfinite(probabilities).all()


@pytest.mark.parametrize("samples", [0, 1, 63, 2 * 60 * RATE])
def test_any_length_is_answered(model: torch.jit.ScriptModule, samples: int) -> None:
    with torch.inference_mode():
        probabilities, _ = model(noise(1, samples), RATE)
    assert probabilities.shape == (1, 3) and torch.isfinite(probabilities).all()


def test_an_empty_batch_is_answered_with_an_empty_one(model: torch.jit.ScriptModule) -> None:
    probabilities, flags = model(torch.zeros(0, RATE), RATE)
    assert probabilities.shape == (0, 3) and flags.shape == (0,)


@pytest.mark.parametrize(
    ("waveform", "rate", "lengths", "named"),
    [
        (torch.zeros(8), RATE, None, "dimensions"),
        (torch.zeros(2, 8), RATE, torch.tensor([8]), "one length for each"),
        (torch.zeros(1, 8), 0, None, "positive number of Hz"),
        (torch.zeros(1, 8), 192001, None, "no usable common divisor"),
    ],
)
def test_wrong_calls_are_refused_by_name(
    model: torch.jit.ScriptModule, waveform: torch.Tensor, rate: int, lengths: torch.Tensor | None, named: str
) -> None:
    with pytest.raises(Exception, match=named):
        model(waveform, rate, lengths)
