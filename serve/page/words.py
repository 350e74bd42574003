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
    "noise_only": "Noise only: nothing in it rises and falls as breaths or heartbeats do.",
}
NO_FLAGS = (
    "No fault was found: not silent, constant, clipped, too short, nor with values that are no numbers, "
    "and not noise alone, which is judged from 4 s on."
)
PRESENT, ABSENT, UNDECIDED = "present", "absent", "undecided"
SPECIAL = re.compile(f"([{re.escape(string.punctuation)}])")


def plain(text: str) -> str:
    """Text of somebody else, such as a file's name, that Markdown must not read: not as a link, a picture or a colour."""
    return SPECIAL.sub(r"\\\1", " ".join(text.split()))


def faults(result: RecordingAnswer) -> list[str]:
    """Names of what speaks against a recording: the bundle's quality flags and the service's warnings."""
    return [*result.flags, *result.warnings]


def quality(faults: Sequence[str]) -> list[str]:
    """A sentence for each fault, or one that says there are none."""
    return [FLAGS.get(fault, f"Flagged: {fault}.") for fault in faults] or [NO_FLAGS]


def decision(answer: LabelAnswer) -> str:
    return UNDECIDED if answer.undecided else PRESENT if answer.decided else ABSENT


def verdict(result: RecordingAnswer) -> str:
    """The answer in one or two sentences."""
    if result.error is not None:
        return f"Not answered: {result.error.message}"
    sentences = []
    present = [answer.label for answer in result.labels if decision(answer) == PRESENT]
    open_ones = [answer.label for answer in result.labels if answer.undecided]
    if result.decided is not None and result.decided not in open_ones:
        sentences.append(f"The model says: {result.decided}.")
    elif present:
        sentences.append(f"The model says: {', '.join(present)}.")
    elif not open_ones:
        sentences.append("The model finds none of its labels.")
    if open_ones and len(open_ones) == len(result.labels):
        sentences.append("The model leaves all of its labels open: no probability is clear enough.")
    elif open_ones:
        lies = "the probability lies in the abstain band" if len(open_ones) == 1 else "their probabilities lie in the abstain bands"
        sentences.append(f"The model does not decide on {', '.join(open_ones)}: {lies}.")
    if faults(result):
        sentences.append("The recording has a fault, so the answer means little.")
    return " ".join(sentences)
