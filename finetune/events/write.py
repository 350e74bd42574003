"""Files of events: one table, one JSON file, and per recording a label file for Audacity and the track behind the events."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
import pandas as pd

from common.errors import UserError
from common.files import atomic_path, write_csv, write_json, write_text
from finetune.events.recording import Recording

FORMAT = "auscult.events/1"
TABLE, RECORD, LABEL_TRACKS, TRACKS = "events.csv", "events.json", "audacity", "tracks"
COLUMNS = ("recording", "label", "onset_s", "offset_s", "peak", "mean")

TrackFiles = Literal["none", "csv", "npz"]


def write_events(out: Path, recordings: Sequence[Recording], about: dict[str, Any]) -> None:
    """Write events.csv, and events.json with ``about`` how they were found."""
    rows = [{"recording": recording.name, **asdict(event)} for recording in recordings for event in recording.events]
    write_csv(out / TABLE, pd.DataFrame(rows, columns=list(COLUMNS)))
    write_json(out / RECORD, {"format": FORMAT, **about, "recordings": [_as_json(recording) for recording in recordings]})


def write_beside(out: Path, recording: Recording, labels: Sequence[str], tracks: TrackFiles) -> None:
    """Write the label file of a recording, and its track where one is kept.

    Args:
        out: folder.
        recording: whose events and track are written.
        labels: names of the L columns of the track.
        tracks: kind of the track's file.

    Raises:
        UserError: the recording's name leads out of the folder.
    """
    # Audacity, manual: "Importing and exporting labels": start, end and text in columns, divided by tabs.
    lines = [f"{event.onset_s:.6f}\t{event.offset_s:.6f}\t{event.label}\n" for event in recording.events]
    write_text(_file(out / LABEL_TRACKS, recording.name, "txt"), "".join(lines))
    if recording.track is None:
        return
    track, path = recording.track, _file(out / TRACKS, recording.name, tracks)
    if tracks == "csv":
        table = pd.DataFrame({"start_s": track.start_s, "end_s": track.end_s})
        write_csv(path, table.assign(**dict(zip(labels, track.probabilities.T, strict=True)), flags=track.flags))
        return
    with atomic_path(path) as temporary:
        # Of numbers and text only, so that it opens without pickle.
        np.savez(
            temporary,
            start_s=track.start_s,
            end_s=track.end_s,
            probabilities=track.probabilities,
            flags=track.flags,
            labels=np.asarray(labels, dtype=np.str_),
        )


def _file(folder: Path, name: str, ending: str) -> Path:
    relative = PurePosixPath(f"{name}.{ending}")
    if relative.is_absolute() or ".." in relative.parts:
        raise UserError(f"Recording {name!r} has a name that leads out of {folder}: give it another name in the manifest.")
    return folder / relative


def _as_json(recording: Recording) -> dict[str, Any]:
    return {
        "recording": recording.name,
        "path": str(recording.path),
        "reason": recording.reason,
        "fold": recording.fold,
        "duration_s": recording.duration_s,
        "flagged_s": recording.flagged,
        "events": [asdict(event) for event in recording.events],
    }
