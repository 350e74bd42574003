"""A track in words, for the page and the report: they must be true of windows and of frames."""

from serve.page.model_facts import ModelFacts
from serve.page.track import Track

ROW = {"windows": "window", "frames": "frame"}


def about(track: Track, facts: ModelFacts) -> str:
    """What its rows are, and what they are not."""
    if track.by == "frames":
        return (
            f"A track of frames: {len(track.faults)} of about {facts.frame_s:.3g} s, told in windows of {facts.window_s:g} s that overlap "
            "by half, each frame by the window in whose middle it lies most. Thresholds are the frames' own. Neighbouring frames are "
            "not joined to events: no gap is closed, and none is too short."
        )
    step = f", one every {track.step_s:.3g} s" if track.step_s else ""
    return (
        f"A track of windows: {len(track.faults)} of {facts.window_s:g} s{step}, each answered as a recording of its own and drawn at its "
        "middle. They are not events with exact borders."
    )


def legend(track: Track) -> str:
    """How the picture is to be read."""
    meaning = {
        "windows": "windows in which the label is present. Dashed lines: thresholds. Hatched: abstain bands.",
        "frames": "frames in which the label is present, which is a probability of at least the threshold. Dashed lines: thresholds.",
    }
    return f"White bars over the spectrogram, and dotted stretches below: {meaning[track.by]}"


def table_name(track: Track) -> str:
    if track.table_step > 1:
        return f"Highest probabilities of every {track.table_step} neighbouring {track.by}"
    return f"Probabilities of each {ROW[track.by]}"


def table_offer(track: Track) -> str:
    """What there is to open below the picture."""
    return f"The highest of every {track.table_step} {track.by} as a table" if track.table_step > 1 else "The same numbers as a table"
