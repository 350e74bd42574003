"""Why a clip is refused or flagged: one table of codes, severities and what is done. It is the only place that decides.

An error means that the data are wrong and someone should look; a warning means that nothing is lost or that a person may well
decide otherwise.
"""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]
Action = Literal["removed", "kept", "corrected", "ignored"]


@dataclass(frozen=True)
class Reason:
    """What a reason code means and does.

    Attributes:
        severity: error or warning.
        action: the clip is removed from the clean manifest, kept in it as it is, kept with corrected borders, or (a file that is
            in no row) ignored.
        meaning: one sentence for the page.
    """

    severity: Severity
    action: Action
    meaning: str


REASONS: dict[str, Reason] = {
    "missing_file": Reason("error", "removed", "The row names a file that is not there."),
    "empty_file": Reason("error", "removed", "The file has 0 bytes."),
    "not_openable": Reason("error", "removed", "The file is not audio, or its header is broken or cut short."),
    "no_samples": Reason("error", "removed", "The file opens but holds no sample for this clip."),
    "wrong_borders": Reason("error", "removed", "The clip is said to start before the recording or to end before it starts."),
    "truncated": Reason(
        "error",
        "removed",
        "The file ends before what its header promises; the labels were given to the whole recording.",
    ),
    "unsupported_rate": Reason("error", "removed", "The sample rate has no usable common divisor with the one to train at."),
    "not_finite": Reason("error", "removed", "Samples are NaN or infinite."),
    "silent": Reason("error", "removed", "Nothing but digital silence."),
    "constant": Reason("error", "removed", "One value throughout: a disconnected microphone or a failed conversion."),
    "too_short": Reason("error", "removed", "Shorter than 0.1 s, less than a wheeze."),
    "label_rule": Reason("error", "removed", "Called normal and abnormal at once."),
    "duplicate_conflict": Reason(
        "error", "removed", "The same samples have different labels; as nothing says which is right, all of them are removed."
    ),
    "repeated_row": Reason("warning", "removed", "The table has the same clip in an earlier row."),
    "duplicate": Reason("warning", "removed", "The same samples with the same labels as another clip, which is kept."),
    "duplicate_across_patients": Reason("warning", "kept", "The same samples under different patients: one of the names is wrong."),
    "clipped": Reason("warning", "kept", "Tops are cut flat by an overdriven recorder; crackles and wheezes can still be heard."),
    "out_of_range": Reason("warning", "corrected", "The clip is said to end after the recording does; it now ends with it."),
    "unlisted_file": Reason("warning", "ignored", "An audio file beside the listed ones that no row names."),
}


@dataclass(frozen=True)
class Finding:
    """One reason at one clip, or at a file that no row names.

    Attributes:
        clip_id: clip in the manifest; empty for a file without a row.
        path: the file.
        reason: code of `REASONS`.
        detail: what was found, in words and numbers.
    """

    clip_id: str
    path: str
    reason: str
    detail: str

    @property
    def removes(self) -> bool:
        return REASONS[self.reason].action == "removed"

    def as_json(self) -> dict[str, str]:
        """The entry of ``audit.json``."""
        reason = REASONS[self.reason]
        return {
            "clip_id": self.clip_id,
            "path": self.path,
            "reason": self.reason,
            "severity": reason.severity,
            "action": reason.action,
            "detail": self.detail,
        }
