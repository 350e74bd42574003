"""Labels over time, row by row of a recording, whichever way the model was asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

Band = tuple[float, float]
# A browser needs a minute for a table of some thousand rows, and nobody reads it.
MOST_ROWS = 500


@dataclass(frozen=True)
class Track:
    """What the model says of R rows: windows that overlap, or neighbouring frames.

    Attributes:
        by: what a row is.
        labels: of the L columns.
        thresholds: of each label, from which probability on it is there.
        bands: label -> (low, high) of the band in which the model does not decide, for labels that have one.
        begin_s: [R], s.
        end_s: [R], s.
        edges_s: borders of the stretches that rows stand for, [R + 1], s, without gaps from the recording's start to its end.
        probabilities: [R, L]; NaN where a row was not answered.
        present: bool [R, L].
        faults: names of each row's quality flags and warnings.
    """

    by: Literal["windows", "frames"]
    labels: Sequence[str]
    thresholds: Sequence[float]
    bands: Mapping[str, Band]
    begin_s: np.ndarray
    end_s: np.ndarray
    edges_s: np.ndarray = field(repr=False)
    probabilities: np.ndarray = field(repr=False)
    present: np.ndarray = field(repr=False)
    faults: Sequence[Sequence[str]] = field(repr=False)

    @property
    def step_s(self) -> float:
        """From the beginning of a row to that of the next, s; 0 for one row alone."""
        return float(self.begin_s[1] - self.begin_s[0]) if len(self.begin_s) > 1 else 0.0

    @property
    def table_step(self) -> int:
        """How many neighbouring rows are one in a table, so that the frames of a long recording fit into it."""
        return -(-len(self.begin_s) // MOST_ROWS)

    def spans(self, column: int) -> list[tuple[float, float]]:
        """Stretches (begin, end), s, of neighbouring rows in which a label is present."""
        changes = np.diff(self.present[:, column].astype(int), prepend=0, append=0)
        begins, ends = self.edges_s[np.flatnonzero(changes == 1)], self.edges_s[np.flatnonzero(changes == -1)]
        return list(zip(begins.tolist(), ends.tolist(), strict=True))
