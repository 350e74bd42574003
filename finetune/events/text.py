"""Scores of events as lines for a person."""

from typing import Any

CRITERIA = {"event": "onset and offset", "onset": "onset alone", "segment": "segments"}


def lines(figures: dict[str, Any]) -> list[str]:
    """A line per criterion and label, and what was left out.

    Args:
        figures: what ``finetune score-events`` writes.
    """
    text = []
    for criterion, title in CRITERIA.items():
        of_all = figures[criterion]
        text.append(f"{title}: macro F1 {_with_interval(of_all, 'macro_f1')}, error rate {_with_interval(of_all, 'error_rate')}")
        for label, of_label in of_all["labels"].items():
            numbers = f"{of_label['right']} right of {of_label['reference']} annotated and {of_label['found']} found"
            text.append(f"  {label}: F1 {_with_interval(of_label, 'f1')}, {numbers}")
    text.append(f"{figures['recordings']} recordings; 95 % intervals over {figures['groups']} {figures['over']}.")
    if figures["not_annotated"] or figures["not_heard"]:
        text.append(f"Left out: {figures['not_annotated']} recordings without annotation, {figures['not_heard']} that were not heard.")
    return text


def _with_interval(figures: dict[str, Any], name: str) -> str:
    value, interval = figures[name], figures[f"{name}_ci"]
    if value is None:
        return "not evaluable"
    return f"{value:.3f}" + ("" if interval is None else f" ({interval[0]:.3f} to {interval[1]:.3f})")
