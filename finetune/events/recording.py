"""The events of a recording's file, read in blocks."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from common.audio.quality import flag_names
from common.audio.read import read_blocks, to_mono
from common.errors import UserError
from finetune.events.event import Event
from finetune.events.judge import Judge
from finetune.events.rule import EventRule
from finetune.events.stream import EventStream
from finetune.events.track import Track
from finetune.events.track_stream import TrackStream
from finetune.events.windows import Windows


@dataclass(frozen=True)
class Recording:
    """What was found in a recording.

    Attributes:
        name: of the recording.
        path: of its file.
        reason: why it failed; empty where it did not.
        fold: the fold whose network judged it; None where one model judges all.
        duration_s: that was decoded, s; None where it failed.
        flagged: quality flag -> seconds of windows that have it: their probabilities mean little.
        events: by onset.
        track: probabilities behind them; None where they were not asked for.
    """

    name: str
    path: Path
    reason: str = ""
    fold: int | None = None
    duration_s: float | None = None
    flagged: dict[str, float] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    track: Track | None = None

    def without_track(self) -> "Recording":
        return replace(self, track=None)


def find_events(
    name: str, path: Path, judge: Judge, rule: EventRule, windows: Windows, fold: int | None = None, keep_track: bool = False
) -> Recording:
    """Find the events of a file; one that does not decode, or that the model cannot take, becomes a `Recording` with the reason."""
    stream: EventStream | None = None
    events: list[Event] = []
    tracks: list[Track] = []
    flagged: dict[str, float] = {}

    def take(rows: Track, finished: list[Event]) -> None:
        events.extend(finished)
        if keep_track:
            tracks.append(rows)
        for start, end, flags in zip(rows.start_s[rows.flags > 0], rows.end_s[rows.flags > 0], rows.flags[rows.flags > 0], strict=True):
            for flag in flag_names(int(flags)):
                flagged[flag] = flagged.get(flag, 0.0) + float(end - start)

    try:
        for block, sample_rate in read_blocks(path):
            if stream is None:
                stream = EventStream(TrackStream(judge, sample_rate, windows), rule)
            take(*stream.feed(to_mono(block)))
        if stream is None:
            raise UserError(f"{path} holds no samples: expected a recording.")
        take(*stream.close())
    except (UserError, RuntimeError) as error:
        return Recording(name, path, str(error).strip().splitlines()[-1], fold)
    ordered = tuple(sorted(events, key=lambda event: (event.onset_s, event.label)))
    return Recording(name, path, "", fold, stream.track.length_s, flagged, ordered, Track.joined(tracks) if keep_track else None)
