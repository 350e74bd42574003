"""Events that were found, read again to be scored."""

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from common.described import build
from common.errors import UserError
from common.files import read_csv
from finetune.events.span_table import spans
from finetune.events.write import FORMAT
from finetune.tasks.base import Task


@dataclass(frozen=True)
class Found:
    """Events that a system found.

    Attributes:
        events: see `finetune.events.span_table.spans`.
        heard: the recordings that were heard; None where the table alone is known, which does not name those without events.
        labels: whose events were looked for; None where it is not known.
        task: of the model; None where it is not known.
    """

    events: pd.DataFrame
    heard: frozenset[str] | None = None
    labels: tuple[str, ...] | None = None
    task: Task | None = None


def read_found(path: Path) -> Found:
    """Read events.csv, of ours or of another system, with what the events.json beside it says of how it was made.

    Raises:
        UserError: the table is not there or has no such columns, or the file beside it is not one of ``finetune events``.
    """
    events = spans(read_csv(path, text=("recording", "label")), str(path))
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return Found(events)
    try:
        record = json.loads(beside.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{beside} is not JSON ({error}): restore it, or copy the table elsewhere.") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise UserError(f"{beside} is not of {FORMAT}: make it again by 'python -m finetune events', or copy the table elsewhere.")
    heard = frozenset(recording["recording"] for recording in record["recordings"] if not recording["reason"])
    return Found(events, heard, tuple(record["labels"]), build(record["task"], Task))  # type: ignore[type-abstract]
