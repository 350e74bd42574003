"""How a cost grows with the number of clips: a straight line through what was measured, how far the measurements are from it, and where
it would lead for sets that were not run."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


class Line(NamedTuple):
    """Least squares of a cost over the number of clips.

    Attributes:
        per_clip: slope.
        start: at no clip.
        residual: largest distance of a measurement from the line, in the cost's unit.
    """

    per_clip: float
    start: float
    residual: float

    def at(self, clips: int) -> float:
        return self.start + self.per_clip * clips


def line(clips: Sequence[int], cost: Sequence[float]) -> Line | None:
    """The line through the measurements; None of fewer than three sizes, since two always lie on one."""
    if len(set(clips)) < 3:
        return None
    slope, start = np.polyfit(clips, cost, 1)
    residual = np.abs(np.asarray(cost) - (start + slope * np.asarray(clips))).max()
    return Line(float(slope), float(start), float(residual))


def growth(rows: Sequence[dict[str, Any]], paper: int) -> dict[str, Any] | None:
    """How processor time and memory of one recipe grow, and what ``paper`` clips would take by the same lines.

    Args:
        rows: one per size, with ``clips``, ``processor_s`` and ``peak_mb``.
        paper: number of clips of a set that is not run.
    """
    clips = [row["clips"] for row in rows]
    time, memory = line(clips, [row["processor_s"] for row in rows]), line(clips, [row["peak_mb"] for row in rows])
    if time is None or memory is None:
        return None
    return {
        "processor_s_per_1000_clips": round(1000 * time.per_clip, 2),
        "processor_s_at_0": round(time.start, 2),
        "processor_s_largest_residual": round(time.residual, 2),
        "peak_mb_per_1000_clips": round(1000 * memory.per_clip, 1),
        "peak_mb_at_0": round(memory.start, 1),
        "peak_mb_largest_residual": round(memory.residual, 1),
        "on_paper": {"clips": paper, "processor_minutes": round(time.at(paper) / 60, 1), "peak_mb": round(memory.at(paper))},
    }
