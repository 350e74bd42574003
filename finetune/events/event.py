"""What an event is."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """A label that is there for a while.

    Attributes:
        label: its name.
        onset_s: where it begins in the recording, s.
        offset_s: where it ends, s.
        peak: the highest probability in it.
        mean: the mean probability over the time in which it was there; gaps that were merged do not count.
    """

    label: str
    onset_s: float
    offset_s: float
    peak: float
    mean: float
