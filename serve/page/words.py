"""Answers in words, so that no meaning lies in a colour or a picture alone."""

import re
import string
from collections.abc import Sequence

from serve.schemas import NOTE, LabelAnswer, RecordingAnswer

NOT_A_DIAGNOSIS = f"{NOTE} It may be wrong in either direction: do not decide about a person's care by it."
FLAGS = {
    "silent": "Silent: the recording never leaves zero by more than the smallest step of 16 bits.",
    "clipped": "Clipped: the tops of the waveform are cut flat, the recording level was too high.",
    "too_short": "Too short: under 0.1 s.",
    "not_finite": "Not finite: the file holds values that are no numbers; they are heard as silence.",
    "constant": "Constant: as flat as silence, but away from zero, as from a loose contact.",
}
NO_FLAGS = "No fault was found: not silent, constant, clipped, too short, nor with values that are no numbers."
PRESENT, ABSENT, UNDECIDED = "present", "absent", "undecided"
SPECIAL = re.compile(f"([{re.escape(string.punctuation)}])")


def plain(text: str) -> str:
    """Text of somebody else, such as a file's name, that Markdown must not read: not as a link, a picture or a colour."""
    return SPECIAL.sub(r"\\\1", " ".join(text.split()))


def quality(flags: Sequence[str]) -> list[str]:
    """A sentence for each quality flag, or one that says there are none."""
    return [FLAGS.get(flag, f"Flagged: {flag}.") for flag in flags] or [NO_FLAGS]


def decision(answer: LabelAnswer) -> str:
    return UNDECIDED if answer.undecided else PRESENT if answer.decided else ABSENT


def verdict(result: RecordingAnswer) -> str:
    """The answer in one or two sentences."""
    if result.error is not None:
        return f"Not answered: {result.error.message}"
    open_ones = [answer.label for answer in result.labels if answer.undecided]
    if result.decided is not None:
        heard = f"The model says: {result.decided}."
    elif len(open_ones) == len(result.labels):
        heard, open_ones = "The model leaves all of its labels open: no probability is clear enough.", []
    else:
        present = [answer.label for answer in result.labels if decision(answer) == PRESENT]
        heard = f"The model says: {', '.join(present)}." if present else "The model finds none of its labels."
    undecided = f" It does not decide on {', '.join(open_ones)}: the probability lies in the abstain band." if open_ones else ""
    flagged = " The recording has a fault, so the answer means little." if result.flags else ""
    return heard + undecided + flagged
