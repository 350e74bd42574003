"""From which probability on a label is called present: chosen on out-of-fold predictions, never on training data.

A threshold that was chosen on the clips it is judged on flatters them, so reported decisions are cross-fitted: the clips of fold k
are decided by thresholds from the other folds. The exported file takes the thresholds from all folds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from common.errors import UserError

Rule = Literal["youden", "f1", "equal", "score", "normal"]

UNDECIDED = 0.5


@dataclass(frozen=True)
class Thresholds:
    """One threshold per label.

    Attributes:
        labels: names of the L labels.
        values: L thresholds, 0 to 1; a clip is positive where its probability is at least this.
        rule: what they maximise ("score" is that of the task's challenge, "normal" the same with one threshold for all classes but
            normal), "equal" where they are one number, or "sensitivity" where they keep one.
        defaulted: labels whose clips can tell nothing (one class, or one probability, only) and which therefore got the default.
        sensitivity: the share of positive clips that they find at least, on the clips that they were chosen on; None for the rules.
    """

    labels: tuple[str, ...]
    values: tuple[float, ...]
    rule: Rule | Literal["sensitivity"]
    defaulted: tuple[str, ...]
    sensitivity: float | None = None

    def as_json(self) -> dict[str, object]:
        """``{"labels": [...], "thresholds": [...], "rule": ...}``, as thresholds.json holds it; with ``sensitivity`` where one is kept."""
        kept = {} if self.sensitivity is None else {"sensitivity": self.sensitivity}
        return {"labels": list(self.labels), "thresholds": list(self.values), "rule": self.rule, **kept}


def check_share(name: str, share: float | None) -> None:
    """Refuse an option that is no share of clips.

    Raises:
        UserError: ``share`` is not more than 0 and up to 1.
    """
    if share is not None and not 0 < share <= 1:
        raise UserError(f"{name} is {share:g}: expected a share of clips, more than 0 and up to 1, for example 0.9.")


def choose_thresholds(
    targets: np.ndarray,
    probabilities: np.ndarray,
    labels: Sequence[str],
    rule: Rule = "youden",
    sensitivity: float | None = None,
    undecided: float = UNDECIDED,
) -> Thresholds:
    """Choose each label's threshold by `choose_threshold`: ``targets`` [n, L] of 1, 0 or NaN, ``probabilities`` [n, L].

    With the rule "equal" all are ``undecided``, which is also that of a label whose clips can tell nothing.
    """
    if rule == "equal" and sensitivity is None:
        return Thresholds(tuple(labels), (undecided,) * len(labels), rule, ())
    chosen = [choose_threshold(targets[:, index], probabilities[:, index], rule, sensitivity) for index in range(len(labels))]
    return Thresholds(
        labels=tuple(labels),
        values=tuple(undecided if value is None else value for value in chosen),
        rule=rule if sensitivity is None else "sensitivity",
        defaulted=tuple(label for label, value in zip(labels, chosen, strict=True) if value is None),
        sensitivity=sensitivity,
    )


def cross_fitted_thresholds(
    targets: np.ndarray,
    probabilities: np.ndarray,
    fold: np.ndarray,
    labels: Sequence[str],
    rule: Rule = "youden",
    sensitivity: float | None = None,
    undecided: float = UNDECIDED,
) -> dict[int, Thresholds]:
    """For each fold the thresholds that the clips of all other folds give: ``fold`` int [n], the rest as `choose_thresholds`."""
    others = {int(k): fold != k for k in np.unique(fold)}
    return {k: choose_thresholds(targets[rows], probabilities[rows], labels, rule, sensitivity, undecided) for k, rows in others.items()}


def choose_threshold(
    targets: np.ndarray, probabilities: np.ndarray, rule: Rule = "youden", sensitivity: float | None = None
) -> float | None:
    """The threshold that maximises ``rule`` over the annotated clips, or the highest one that keeps ``sensitivity``.

    Youden's J = sensitivity + specificity - 1 weighs both kinds of error alike, as the ICBHI Score does, and does not move with
    the share of ill patients, which differs between a study and a practice: the default. F1 ignores true negatives and follows
    the prevalence.

    Candidates lie midway between neighbouring probabilities, where the decision on unseen clips is least sensitive to a small
    shift, besides the lowest probability ("all positive"). Among equally good ones the nearest to 0.5 is taken.

    Args:
        targets: [n] of 1, 0 or NaN (left out).
        probabilities: [n].
        rule: "youden" or "f1".
        sensitivity: share of the positive clips to find at least, more than 0 and up to 1; then ``rule`` says nothing.

    Returns:
        The threshold, or None where there is one class or one probability only.

    Reference:
        Youden, "Index for rating diagnostic tests", Cancer 3, 1950.
    """
    known = ~np.isnan(targets)
    truth, scores = targets[known] == 1, probabilities[known]
    values = np.unique(scores)
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives or len(values) < 2:
        return None
    middle = (values[:-1] + values[1:]) / 2
    # Two neighbouring floats have no number between them; rounding down to the lower one would let it in.
    candidates = np.concatenate([values[:1], np.where(middle > values[:-1], middle, values[1:])])
    true_positives = positives - np.searchsorted(np.sort(scores[truth]), candidates, side="left")
    false_positives = negatives - np.searchsorted(np.sort(scores[~truth]), candidates, side="left")
    if sensitivity is not None:
        # A share like 0.9 of 10 clips is 9 of them, whatever the float says.
        return float(candidates[true_positives >= sensitivity * positives - 1e-9].max())
    if rule == "youden":
        merit = true_positives / positives - false_positives / negatives
    else:
        merit = 2 * true_positives / (true_positives + false_positives + positives)
    best = candidates[merit >= merit.max() - 1e-12]
    return float(best[np.argmin(np.abs(best - UNDECIDED))])
