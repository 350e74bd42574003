"""How a recording is cut into the windows of a track."""

from dataclasses import dataclass

from common.errors import UserError
from finetune.events.judge import Judge


@dataclass(frozen=True)
class Windows:
    """Overlapping windows.

    Attributes:
        window_s: length, s.
        hop_s: from one to the next, s.
        at_once: answered together. More are faster; a live stream waits until so many are there.
    """

    window_s: float
    hop_s: float
    at_once: int = 16


def windows_for(judge: Judge, window_s: float | None = None, hop_s: float | None = None, at_once: int = 16) -> Windows:
    """Windows for what judges them.

    Args:
        judge: made of a model.
        window_s: by default that of the windows that the model was trained on. A shorter one is repeated or padded as short clips were in
            training; over a longer one a model that tells whole windows averages its own.
        hop_s: up to ``window_s``; by default a tenth of it, and half of it for frames.
        at_once: at least 1.

    Raises:
        UserError: a number is out of range.
    """
    window_s = float(judge.model.metadata["clip_s"]) if window_s is None else window_s
    hop_s = judge.hop_share * window_s if hop_s is None else hop_s
    if not 0 < hop_s <= window_s < float("inf"):
        raise UserError(f"The windows are {window_s:g} s long and {hop_s:g} s apart: expected --hop_s above 0 and up to --window_s.")
    if window_s > judge.longest_s:
        raise UserError(
            f"--window_s is {window_s:g}, and the model tells the frames of {judge.longest_s:g} s: expected no more, or --by windows."
        )
    if at_once < 1:
        raise UserError(f"--batch_size is {at_once}: expected at least 1 window at once.")
    return Windows(window_s, hop_s, at_once)
