"""Tables of answers: the same numbers as in the pictures, for the page, the report and CSV."""

import csv
import io
from collections.abc import Sequence

import numpy as np

from serve.page.model_facts import ModelFacts
from serve.page.track import Track
from serve.page.words import decision, faults
from serve.schemas import RecordingAnswer

Row = dict[str, str]


def label_rows(result: RecordingAnswer, facts: ModelFacts) -> list[Row]:
    """One row per label."""
    return [
        {
            "Label": answer.label,
            "Probability": f"{answer.probability:.3f}",
            "Threshold": f"{answer.threshold:.3f}",
            "Abstain band": _band(facts.abstain.get(answer.label)),
            "Answer": decision(answer),
        }
        for answer in result.labels
    ]


def _band(band: tuple[float, float] | None) -> str:
    return "none" if band is None or band[0] >= band[1] else f"{band[0]:.3f} to {band[1]:.3f}"


def track_rows(track: Track) -> list[Row]:
    """One row per window or frame, or of a long recording per `Track.table_step` of them: the highest of their probabilities."""
    rows = []
    for first in range(0, len(track.faults), track.table_step):
        part = slice(first, first + track.table_step)
        highest, present = np.maximum.reduce(track.probabilities[part]), np.logical_or.reduce(track.present[part])
        rows.append(
            {
                "From (s)": f"{track.begin_s[part][0]:.2f}",
                "To (s)": f"{track.end_s[part][-1]:.2f}",
                **{label: _probability(value) for label, value in zip(track.labels, highest, strict=True)},
                "Present": ", ".join(label for label, there in zip(track.labels, present, strict=True) if there) or "none",
                "Faults": ", ".join(dict.fromkeys(fault for found in track.faults[part] for fault in found)) or "none",
            }
        )
    return rows


def _probability(value: float) -> str:
    return "not answered" if value != value else f"{value:.3f}"


def batch_rows(names: Sequence[str], results: Sequence[RecordingAnswer], version: Sequence[str]) -> list[Row]:
    """One row per recording, in the columns of ``finetune predict`` and some more.

    Args:
        names: of the files.
        results: one per file.
        version: of the bundle that answered each.
    """
    rows = []
    for name, result, answered_by in zip(names, results, version, strict=True):
        row = {
            "file": name,
            "status": result.status,
            "reason": result.error.message if result.error else ";".join(faults(result)),
            "duration_s": "" if result.duration_s is None else f"{result.duration_s:.3f}",
            "sample_rate": "" if result.sample_rate is None else str(result.sample_rate),
        }
        for answer in result.labels:
            row[f"prob_{answer.label}"] = f"{answer.probability:.6f}"
            row[f"decided_{answer.label}"] = str(int(answer.decided))
            row[f"undecided_{answer.label}"] = str(int(answer.undecided))
        if result.decided is not None:
            row["decided"] = result.decided
        row["model"] = answered_by
        rows.append(row)
    return rows


def csv_text(rows: Sequence[Row]) -> str:
    """CSV whose columns are those of all rows; what a row lacks is empty."""
    # The row with most columns first, so that they stand in its order.
    columns = list(dict.fromkeys(name for row in sorted(rows, key=len, reverse=True) for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
