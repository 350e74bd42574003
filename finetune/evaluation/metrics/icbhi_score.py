"""The ICBHI Score: how often a normal cycle is called normal, and how often an abnormal one gets its exact class."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class IcbhiScore:
    """The score and what it is made of.

    Attributes:
        classes: names of the C classes, the normal one first; with wheeze and crackle: normal, wheeze, crackle, wheeze + crackle.
        confusion: int64 [C, C], true class by decided class, in clips.
    """

    classes: tuple[str, ...]
    confusion: np.ndarray

    @property
    def n(self) -> int:
        """Clips whose class is known."""
        return int(self.confusion.sum())

    @property
    def specificity(self) -> float | None:
        """SP: share of the normal clips that are decided normal; None without normal clips."""
        normal = self.confusion[0].sum()
        return float(self.confusion[0, 0] / normal) if normal else None

    @property
    def sensitivity(self) -> float | None:
        """SE: share of the abnormal clips that are given their exact class; None without abnormal clips."""
        abnormal = self.confusion[1:].sum()
        return float(np.trace(self.confusion[1:, 1:]) / abnormal) if abnormal else None

    @property
    def score(self) -> float | None:
        """(SP + SE) / 2, None where one of them is."""
        sp, se = self.specificity, self.sensitivity
        return None if sp is None or se is None else (sp + se) / 2


def icbhi_score(targets: np.ndarray, decisions: np.ndarray, labels: Sequence[str]) -> IcbhiScore:
    """Count every clip's true class against its decided class, where a class is the set of abnormal labels that a clip has.

    SE is not the sensitivity of "abnormal against normal": a wheeze that is called a crackle, or a clip with both of which only
    one is found, is abnormal and decided abnormal, but not of its exact class, and counts as missed. So SE is at most that
    sensitivity, and chance is far below one half.

    Args:
        targets: [n, A] of 1, 0 or NaN, the abnormal labels' columns; a clip with any NaN is left out, its class being unknown.
        decisions: [n, A] of 1 or 0.
        labels: names of the A abnormal labels.

    Reference:
        Rocha et al., "An open access database for the evaluation of respiratory sound classification algorithms",
        Physiological Measurement 40, 2019: SE = (P_c + P_w + P_b) / (N_c + N_w + N_b), SP = P_n / N_n.
    """
    known = ~np.isnan(targets).any(axis=1)
    true, decided = targets[known].astype(int), np.asarray(decisions)[known].astype(int)
    # Only sets that occur become classes: with many fine labels the 2^A possible ones are mostly empty.
    seen = {tuple(row) for row in np.concatenate([true, decided])}
    single = {tuple(row) for row in np.eye(len(labels), dtype=int)}
    sets = sorted(seen | single | {(0,) * len(labels)}, key=lambda row: (sum(row), [-value for value in row]))
    index = {row: position for position, row in enumerate(sets)}
    confusion = np.zeros((len(sets), len(sets)), dtype=np.int64)
    np.add.at(confusion, ([index[tuple(row)] for row in true], [index[tuple(row)] for row in decided]), 1)
    return IcbhiScore(tuple(_name(row, labels) for row in sets), confusion)


def _name(row: tuple[int, ...], labels: Sequence[str]) -> str:
    present = [label for label, value in zip(labels, row, strict=True) if value]
    return " + ".join(present) or "normal"
