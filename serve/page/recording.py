"""A recording as the page shows and plays it; the service has judged the same bytes before."""

import io
from dataclasses import dataclass, field

import numpy as np
import soundfile

from serve.decode import DecodeLimits, decode
from serve.page.model_facts import ModelFacts

# Browsers play no rate much below.
PLAYED_HZ = 8000
LOUD = 0.99


@dataclass(frozen=True)
class Recording:
    """A decoded recording.

    Attributes:
        name: of the file; only shown.
        waveform: float32 [T], channels averaged, in [-1, 1]; NaN and infinity are 0.
        sample_rate: Hz.
        channels: that the file had.
    """

    name: str
    waveform: np.ndarray = field(repr=False)
    sample_rate: int
    channels: int

    @property
    def duration_s(self) -> float:
        return len(self.waveform) / self.sample_rate


def recording_of(name: str, content: bytes, facts: ModelFacts) -> Recording:
    """Decode a file within the service's limits.

    Raises:
        Refusal: as the service refuses it.
    """
    limits = facts.limits
    decoded = decode(content, DecodeLimits(limits["max_seconds"], int(limits["max_channels"]), int(limits["max_rate_hz"])))
    waveform = np.nan_to_num(decoded.waveform, nan=0.0, posinf=0.0, neginf=0.0)
    return Recording(name, waveform, decoded.sample_rate, decoded.channels)


def wav(waveform: np.ndarray, sample_rate: int, subtype: str = "FLOAT") -> bytes:
    """A WAV file of float32 [T]."""
    file = io.BytesIO()
    soundfile.write(file, waveform, sample_rate, format="WAV", subtype=subtype)
    return file.getvalue()


def playable(recording: Recording) -> bytes:
    """A WAV file that every browser plays, as loud as 16 bits hold, so that quiet recordings can be heard."""
    waveform, rate = recording.waveform, recording.sample_rate
    times = -(-PLAYED_HZ // rate)
    if times > 1:
        # Exact band-limited interpolation: a longer transform with nothing in its new bins.
        waveform = np.fft.irfft(np.fft.rfft(waveform), times * len(waveform)).astype(np.float32)
    peak = float(np.abs(waveform).max(initial=0.0))
    return wav(waveform * (LOUD / max(peak, 1e-9)), rate * times, "PCM_16")
