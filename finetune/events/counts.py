"""What is right and wrong in each recording, counted by sed_eval, the scorer of the DCASE challenges.

Counts are kept by recording, since figures are of their sums, and intervals of sums over patients that are drawn again.

Reference:
    Mesaros, Heittola & Virtanen, "Metrics for polyphonic sound event detection", Applied Sciences 6(6), 162, 2016.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from common.errors import UserError


@dataclass(frozen=True)
class Criteria:
    """When an event counts as found.

    Attributes:
        collar_s: how far the onset may be off, s; the offset likewise, or further.
        offset_share: the offset may also be off by this share of the annotated event's length.
        segment_s: length of the segments of the segment-based figures, s.
    """

    collar_s: float = 0.2
    offset_share: float = 0.5
    segment_s: float = 1.0


@dataclass(frozen=True)
class Counts:
    """Of R recordings and L labels, by one criterion.

    Attributes:
        labels: float64 [R, L, 3]: right, in the reference, found. Events, or segments in which a label is active.
        errors: float64 [R]: substitutions, deletions and insertions over all labels.
    """

    labels: np.ndarray
    errors: np.ndarray


def count(
    reference: pd.DataFrame, found: pd.DataFrame, recordings: Sequence[str], labels: Sequence[str], criteria: Criteria
) -> dict[str, Counts]:
    """Count by each criterion.

    Args:
        reference: annotated events, see `finetune.events.span_table.spans`.
        found: events to judge.
        recordings: to judge, R.
        labels: to judge, L.
        criteria: of sed_eval.

    Returns:
        "event" (onset and offset are right), "onset" (the onset is) and "segment".

    Raises:
        UserError: sed_eval is not installed.
    """
    sound_event = _sed_eval().sound_event
    both = [_by_recording(table, recordings, labels) for table in (reference, found)]
    collars = {"event_label_list": list(labels), "t_collar": criteria.collar_s, "percentage_of_length": criteria.offset_share}
    scorers = {
        "event": lambda: sound_event.EventBasedMetrics(**collars),
        "onset": lambda: sound_event.EventBasedMetrics(**collars, evaluate_offset=False),
        "segment": lambda: sound_event.SegmentBasedMetrics(event_label_list=list(labels), time_resolution=criteria.segment_s),
    }
    counts = {}
    for name, make in scorers.items():
        of_recordings = []
        for annotated, claimed in zip(*both, strict=True):
            # One scorer for each recording, since it adds up what it is given.
            scorer = make()
            scorer.evaluate(annotated, claimed)
            of_recordings.append(scorer)
        right = [[[scorer.class_wise[label][key] for key in ("Ntp", "Nref", "Nsys")] for label in labels] for scorer in of_recordings]
        wrong = ("S", "D", "I") if name == "segment" else ("Nsubs", "Nfn", "Nfp")
        errors = [sum(scorer.overall[key] for key in wrong) for scorer in of_recordings]
        counts[name] = Counts(np.array(right, dtype=float).reshape(len(recordings), len(labels), 3), np.array(errors, dtype=float))
    return counts


def _by_recording(table: pd.DataFrame, recordings: Sequence[str], labels: Sequence[str]) -> list[list[dict[str, Any]]]:
    """The events of each recording as sed_eval takes them."""
    events: dict[str, list[dict[str, Any]]] = {name: [] for name in recordings}
    kept = table[table["recording"].isin(events) & table["label"].isin(labels)]
    for recording, label, onset_s, offset_s in kept[["recording", "label", "onset_s", "offset_s"]].itertuples(index=False):
        events[recording].append({"filename": "recording", "event_label": label, "event_onset": onset_s, "event_offset": offset_s})
    return list(events.values())


def _sed_eval() -> Any:
    try:
        with warnings.catch_warnings():
            # dcase_util, which it needs, asks for versions by pkg_resources.
            warnings.simplefilter("ignore")
            import sed_eval
    except ImportError as error:
        raise UserError(f"Scoring events needs sed_eval ({error}): install it by 'pip install auscult[events]'.") from error
    return sed_eval
