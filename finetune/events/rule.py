"""What makes events of a probability track: which labels, two thresholds of each, and how long events and gaps are."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from common.errors import UserError
from finetune.events.hysteresis import EventFinder
from finetune.events.judge import Judge

# Of the high threshold, where nothing is said of the low one. Class weights keep probabilities up where a label is not: with half of the
# high one, neighbouring breaths of SPRSound became one event.
LOW_SHARE = 0.8

Given = float | dict[str, float] | None


@dataclass(frozen=True)
class EventRule:
    """How events are found.

    Attributes:
        high: label -> probability that an event reaches; the labels are those whose events are wanted.
        low: label -> probability that it does not fall below.
        min_length_s: shorter events are dropped, s.
        min_gap_s: shorter gaps between two events of a label are closed before, s.
        median_rows: rows of the running median over the track, odd; 1 is none.
    """

    high: dict[str, float]
    low: dict[str, float]
    min_length_s: float
    min_gap_s: float
    median_rows: int

    def finders(self) -> list[EventFinder]:
        """A new finder for each label."""
        return [EventFinder(label, high, self.low[label], self.min_length_s, self.min_gap_s) for label, high in self.high.items()]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def wanted_labels(judge: Judge, labels: Sequence[str] | None = None) -> list[str]:
    """The labels whose events are looked for: ``labels``, by default those that `Judge.wanted` names.

    Raises:
        UserError: there is no such label.
    """
    if labels is None:
        return judge.wanted
    unknown = [label for label in labels if label not in judge.labels]
    if unknown or not labels:
        raise UserError(f"--labels names {', '.join(unknown) or 'none'}: expected some of {', '.join(judge.labels)}.")
    return list(labels)


def event_rule(
    judge: Judge,
    labels: Sequence[str] | None = None,
    high: Given = None,
    low: Given = None,
    min_length_s: float = 0.1,
    min_gap_s: float = 0.1,
    median_rows: int = 1,
) -> EventRule:
    """The rule for what a judge answers.

    Args:
        judge: made of a model.
        labels: see `wanted_labels`.
        high: one number for all labels, or label -> number; the judge's own thresholds where nothing is said.
        low: likewise; `LOW_SHARE` of the high one where nothing is said.
        min_length_s: s.
        min_gap_s: s.
        median_rows: odd.

    Raises:
        UserError: a label is not among them, or a number is out of range.
    """
    wanted = wanted_labels(judge, labels)
    own = dict(zip(judge.labels, judge.thresholds, strict=True))
    highs = {label: own[label] for label in wanted} | _by_label("high", high, wanted)
    lows = {label: LOW_SHARE * value for label, value in highs.items()} | _by_label("low", low, wanted)
    for label in wanted:
        if not 0 <= lows[label] <= highs[label] <= 1:
            raise UserError(f"The thresholds of {label} are low {lows[label]:g} and high {highs[label]:g}: expected 0 <= low <= high <= 1.")
    for name, value in (("min_length_s", min_length_s), ("min_gap_s", min_gap_s)):
        if not 0 <= value < float("inf"):
            raise UserError(f"--{name} is {value:g}: expected seconds, at least 0.")
    if median_rows < 1 or median_rows % 2 == 0:
        raise UserError(f"--median_rows is {median_rows}: expected an odd number of rows, 1 for no median filter.")
    return EventRule(highs, lows, min_length_s, min_gap_s, median_rows)


def _by_label(name: str, given: Given, wanted: Sequence[str]) -> dict[str, float]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        return dict.fromkeys(wanted, float(given))
    unknown = [label for label in given if label not in wanted]
    if unknown:
        raise UserError(f"--{name} has a threshold for {unknown[0]}, whose events are not looked for: expected {', '.join(wanted)}.")
    return {label: float(value) for label, value in given.items()}
