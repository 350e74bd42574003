"""What a detector that learnt from the events of a fold's training clips says of every clip: the features of the fold's classifier."""

import numpy as np

from common.errors import UserError
from finetune.baseline.event_detector import EventDetector, Heard, Projection
from finetune.baseline.windows import Windows
from finetune.folds.balance import divide

HIGHEST = 3


def taught_features(detector: EventDetector, windows: Windows, training: np.ndarray, group: np.ndarray, seed: int) -> np.ndarray:
    """What every clip becomes by a detector that learnt from the events of training clips.

    What is said of training clips comes from inner folds, so that the classifier is fitted to what it will meet: answers of a detector
    that did not learn from the patient. Standardisation and principal components, which see no target, are those of all training clips.

    Args:
        detector: how to learn.
        windows: of n clips, all with at least one.
        training: clips to learn from, bool [n].
        group: whose each clip is, [n].
        seed: of the inner folds.

    Returns:
        [n, 5 L], see `clip_statistics`.

    Raises:
        UserError: a label is in no window that teaches, or in all of them; or fewer patients train than there are inner folds.
    """
    teaches = training[windows.clip]
    projected = Projection(detector.components).fit(windows.features[teaches]).transform(windows.features)
    logits = np.empty((len(projected), len(detector.labels)))
    logits[~teaches] = _heard(detector, projected, windows.targets, teaches, ~teaches)
    for part in _inner_folds(detector, windows, training, group, seed):
        inside = part[windows.clip]
        logits[inside] = _heard(detector, projected, windows.targets, teaches & ~inside, inside)
    borders = np.flatnonzero(np.diff(windows.clip)) + 1
    return np.stack([clip_statistics(of_clip) for of_clip in np.split(logits, borders)])


def clip_statistics(logits: np.ndarray) -> np.ndarray:
    """Maximum, mean of the three highest, mean, log of the mean odds and standard deviation of a clip's windows' ``logits`` [w, L]: [5 L].

    One wheeze makes a recording with a wheeze, which the first two look for; the others say how many windows agree.
    """
    highest = np.sort(logits, axis=0)[-HIGHEST:].mean(axis=0)
    log_mean_odds = np.logaddexp.reduce(logits, axis=0) - np.log(len(logits))
    return np.concatenate([logits.max(axis=0), highest, logits.mean(axis=0), log_mean_odds, logits.std(axis=0)])


def _heard(detector: EventDetector, features: np.ndarray, targets: np.ndarray, teach: np.ndarray, judged: np.ndarray) -> np.ndarray:
    """Logits of the windows ``judged``, learnt from the windows ``teach``, both bool [W]."""
    return Heard(detector).fit(features[teach], targets[teach]).logits(features[judged])


def _inner_folds(detector: EventDetector, windows: Windows, training: np.ndarray, group: np.ndarray, seed: int) -> list[np.ndarray]:
    """The training clips that each inner fold holds out, bool [n]; the folds are alike in what their windows hold."""
    clips = np.flatnonzero(training)
    patients = len(np.unique(group[clips]))
    if patients < detector.inner_folds:
        raise UserError(
            f"A fold trains on {patients} patients, fewer than the detector's {detector.inner_folds} inner folds: lower "
            "--model.detector.init_args.inner_folds, or add recordings."
        )
    held = np.zeros((len(training), len(detector.labels)), dtype=bool)
    np.logical_or.at(held, windows.clip, windows.targets == 1)
    held = held[clips]
    combination = np.unique(held, axis=0, return_inverse=True)[1].reshape(-1)
    marks = np.column_stack([held, ~held, np.full(len(clips), True)])
    part = divide(group[clips], combination, marks, detector.inner_folds, seed)
    inner = np.zeros((detector.inner_folds, len(training)), dtype=bool)
    inner[part, clips] = True
    return list(inner)
