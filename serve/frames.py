"""Events frame by frame: the windows that a recording is cut into, and the rows that come of the windows' frames.

Windows of the model's length overlap by half, as in training, since a frame is told by what comes before and after it. A window speaks for
the times that are nearer to its centre than to any other's, so that each row comes from the window in which it lies most centrally. These
are the rows of ``finetune events``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from serve.errors import StartError

if TYPE_CHECKING:
    from serve.engine import Model

# In samples: what is shorter is no row, but rounding of where a frame begins.
LEAST = 0.5
# In samples: what seconds times a rate may fall short of a whole number by the rounding of floats.
EXACT = 1e-6


def window_starts(samples: int, window: int, step: int) -> np.ndarray:
    """First samples of windows, ``step`` apart, that cover a recording; the last one ends with it."""
    last = max(samples - window, 0)
    return np.append(np.arange(0, last, step), last)


@dataclass(frozen=True)
class Windows:
    """The windows of one recording.

    Attributes:
        starts: first sample of each, [W].
        length: of each, samples; of a shorter recording the only one has as many as there are.
        samples: of the recording.
        sample_rate: Hz.
    """

    starts: np.ndarray
    length: int
    samples: int
    sample_rate: int


def windows_of(samples: int, sample_rate: int, clip_s: float) -> Windows:
    """Cut a recording into windows of ``clip_s`` that overlap by half."""
    # Rounded down: a model takes no window that is longer than its own.
    length = max(1, int(clip_s * sample_rate + EXACT))
    step = min(length, max(1, round(clip_s / 2 * sample_rate)))
    return Windows(window_starts(samples, length, step), length, samples, sample_rate)


@dataclass(frozen=True)
class Rows:
    """R neighbouring stretches of a recording, without gaps; the last one ends with it.

    Attributes:
        begin_s: s [R].
        end_s: s [R].
        probabilities: of the E events, float32 [R, E].
        window: the place of the window that each comes from, [R].
    """

    begin_s: np.ndarray
    end_s: np.ndarray
    probabilities: np.ndarray = field(repr=False)
    window: np.ndarray = field(repr=False)


def joined(windows: Windows, frames: Sequence[np.ndarray], frame_s: float) -> Rows:
    """The rows of a recording.

    Args:
        windows: of it.
        frames: what the model told of each window, [N, E].
        frame_s: from the beginning of one frame to that of the next, s; the last one lasts to the window's end.
    """
    # Midway between the centres of neighbouring windows.
    handed_over = (windows.starts[1:] + windows.starts[:-1] + windows.length) / 2
    borders = [0.0, *handed_over, float(windows.samples)]
    begins, probabilities, window = [], [], []
    for number, (start, told) in enumerate(zip(windows.starts, frames, strict=True)):
        first, end = borders[number], borders[number + 1]
        inner = start + np.arange(1, len(told)) * (frame_s * windows.sample_rate)
        begin = np.append(first, inner[(inner > first + LEAST) & (inner < end - LEAST)])
        begins.append(begin)
        probabilities.append(told[np.searchsorted(inner, begin + LEAST, side="right")])
        window.append(np.full(len(begin), number))
    edges = np.append(np.concatenate(begins), windows.samples) / windows.sample_rate
    return Rows(edges[:-1], edges[1:], np.concatenate(probabilities), np.concatenate(window))


def check_frames(model: "Model", folder: Path) -> None:
    """Ask a model that says that it tells frames for those of one silent window.

    Raises:
        StartError: it does not tell them as its model.json says.
    """
    if (engine := model.frame_engine) is None:
        return
    about, description = model.bundle.frames, model.bundle.description
    try:
        assert about is not None
        clip_s, frame_s, events = float(description["clip_s"]), float(about["frame_s"]), len(about["labels"])
        told, _ = engine.frames(np.zeros((1, round(clip_s * description["sample_rate"])), np.float32), description["sample_rate"])
        as_said = len(about["thresholds"]) == events == told.shape[2] and frame_s > 0 and 0 <= (told.shape[1] - 1) * frame_s < clip_s
    except MemoryError:
        raise
    except Exception as error:
        # Each library that runs a model has errors of its own.
        raise StartError(f"{folder} does not tell frames, and its model.json says that it does: export the bundle again.") from error
    if not as_said:
        raise StartError(f"{folder} tells other frames than its model.json says: export the bundle again.")
