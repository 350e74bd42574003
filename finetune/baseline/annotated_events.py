"""Annotated events of recordings as targets of the frames that lie in them."""

from pathlib import Path

import numpy as np
import pandas as pd

from common.errors import UserError
from common.manifest import groups, read_manifest
from common.progress import say

# So that an event or a frame without length divides nothing by 0.
LEAST_S = 1e-6


def read_events(path: str | Path, labels: tuple[str, ...], clips: pd.DataFrame) -> pd.DataFrame:
    """Read the events of the recordings that ``clips`` are of.

    Args:
        path: manifest whose clips are events, for example from ``common manifest sprsound --unit events``.
        labels: label columns of the events.
        clips: manifest.

    Returns:
        The events' rows, see `common.manifest.read_manifest`.

    Raises:
        UserError: it is no such manifest, none of its events is of a recording of ``clips``, or one is of another patient.
    """
    events = read_manifest(path, labels)
    known = events["recording"].isin(set(clips["recording"]))
    if not known.any():
        raise UserError(
            f"None of the {len(events)} events of {path} is of a recording of the manifest, {events['recording'].iloc[0]!r} first: "
            "name the events of the same recordings by --data.events."
        )
    if not known.all():
        say(f"{int((~known).sum())} of {len(events)} events of {path} are of recordings that the manifest lacks, and teach nothing.")
    events = events[known].reset_index(drop=True)
    owner = dict(zip(clips["recording"], groups(clips), strict=True))
    other = groups(events) != events["recording"].map(owner)
    if other.any():
        row = events[other].iloc[0]
        raise UserError(
            f"{path} gives the recording {row['recording']!r} to {groups(events)[other].iloc[0]!r} and the manifest to "
            f"{owner[row['recording']]!r}: make both manifests of the same dataset."
        )
    return events


def frame_targets(spans: np.ndarray, borders: np.ndarray, labels: np.ndarray, held: float, touched: float) -> np.ndarray:
    """What the frames of one recording hold.

    A frame holds a label where it has at least the share ``held`` of itself or of the event, whichever is shorter, in common with an
    event that has it. It does not where it has less than ``touched`` in common with every event that has it or is not annotated.
    Between the two it is not known, nor is a frame without length.

    Args:
        spans: beginnings and ends of N frames, s, [N, 2].
        borders: of E events, s, [E, 2].
        labels: of the events, 1, 0 or NaN, [E, L].
        held, touched: shares, 0 to 1.

    Returns:
        1, 0 or NaN, float64 [N, L].

    Example:
        >>> frame_targets(np.array([[0, 1], [1, 2], [1.7, 2.7], [3, 4]]), np.array([[0.5, 1.9]]), np.array([[1.0]]), 0.5, 0.1)
        array([[ 1.],
               [ 1.],
               [nan],
               [ 0.]])
    """
    common = np.minimum(spans[:, None, 1], borders[:, 1]) - np.maximum(spans[:, None, 0], borders[:, 0])
    length = np.diff(spans)
    share = common.clip(min=0) / np.minimum(length, np.diff(borders)[:, 0]).clip(min=LEAST_S)
    holds = ((share >= held)[:, :, None] & (labels == 1)).any(axis=1)
    may_hold = ((share >= touched)[:, :, None] & (labels != 0)).any(axis=1)
    # A frame behind the end hears what the clip was filled with.
    return np.select([length <= 0, holds, ~may_hold], [np.nan, 1.0, 0.0], np.nan)
