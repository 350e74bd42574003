"""``python -m finetune score-events``: found events against annotated ones."""

from pathlib import Path
from typing import Any

from common.errors import UserError


def score_events(
    events: Path,
    reference: Path,
    out: Path | None = None,
    labels: list[str] | None = None,
    collar_s: float = 0.2,
    offset_share: float = 0.5,
    segment_s: float = 1.0,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Score found events against annotated ones: event-based and segment-based F1 and error rate (sed_eval), with intervals over patients.

    Recordings that were heard and are annotated are scored; how many are not is in the result.

    Args:
        events: events.csv of 'python -m finetune events', or a table of another system with recording, label, onset_s and offset_s.
        reference: table of annotated events with the same columns (and patient), or a manifest whose clips are events, as
            'python -m common manifest sprsound --unit events' makes one.
        out: JSON file to write; scores.json beside the events by default.
        labels: to score; by default those that were looked for, else those of the reference table.
        collar_s: an onset may be off by so much, s, an offset by so much or by 'offset_share'.
        offset_share: an offset may be off by this share of the annotated event's length.
        segment_s: length of the segments, s.
        resamples: bootstrap draws over patients for the 95 % intervals.
        seed: of the bootstrap.

    Returns:
        Figures of each criterion: ``event`` (onset and offset are right), ``onset`` (the onset is) and ``segment``; counts of recordings,
        and the path ``scores``.

    Raises:
        UserError: a table is wrong, the two have no recording in common, or sed_eval is not installed.
    """
    for name, value in (("collar_s", collar_s), ("segment_s", segment_s)):
        if not 0 < value < float("inf"):
            raise UserError(f"--{name} is {value:g}: expected seconds, more than 0.")
    if not 0 <= offset_share <= 1:
        raise UserError(f"--offset_share is {offset_share:g}: expected a share of an event's length, 0 to 1.")
    if resamples < 1:
        raise UserError(f"--resamples is {resamples}: expected a positive number of bootstrap draws.")
    # Late: sed_eval takes seconds to import, which --help should not.
    import numpy as np

    from common.files import write_json
    from common.progress import say
    from finetune.events.counts import Criteria, count
    from finetune.events.figures import figures_of
    from finetune.events.found import read_found
    from finetune.events.reference import read_reference
    from finetune.events.text import lines

    found = read_found(events)
    annotated = read_reference(reference, labels or found.labels, found.task)
    named = set(found.events["recording"])
    # A table alone does not name the recordings in which nothing was found: all that are annotated count as heard.
    heard = named | set(annotated.group) if found.heard is None else found.heard
    scored = sorted(heard & set(annotated.group))
    if not scored or (named and found.heard is None and not named & set(annotated.group)):
        raise UserError(f"{events} and {reference} have no recording in common: the reference knows {min(annotated.group)!r} and others.")
    counts = count(annotated.events, found.events, scored, annotated.labels, Criteria(collar_s, offset_share, segment_s))
    group = np.array([annotated.group[name] for name in scored])
    figures: dict[str, Any] = {
        **figures_of(counts, annotated.labels, group, resamples, seed),
        "recordings": len(scored),
        "not_annotated": len(set(heard) - set(annotated.group)),
        "not_heard": len(set(annotated.group) - set(heard)),
        "over": "patients" if annotated.by_patient else "recordings",
        "groups": len(set(group)),
        "criteria": {"collar_s": collar_s, "offset_share": offset_share, "segment_s": segment_s},
    }
    target = out or events.parent / "scores.json"
    write_json(target, figures)
    for line in lines(figures):
        say(line)
    return {**figures, "scores": str(target)}
