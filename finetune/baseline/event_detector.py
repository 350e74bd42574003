"""Annotated events as supervision: what tells which windows of a clip hold an event, learnt from the events of training patients.

A recording's label says that there is a wheeze somewhere in 10 s; an annotated event says in which breath.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from common.described import Described
from common.errors import UserError


class EventDetector(Described):
    """Per label a logistic regression, on principal components of the windows' features, that tells which windows hold an event.

    Args:
        labels: of the events, columns of their manifest.
        components: principal components at most.
        c: inverse of the penalty's strength, above 0.
        inner_folds: of the training patients, at least 2: what is said of a training clip was learnt from other patients, as it is of a
            held-out clip.
        held: share of window or event, the shorter, that they have in common where the window holds the event, see
            `finetune.baseline.annotated_events.window_targets`.
        touched: share below which it does not hold it, above 0 and up to ``held``.

    Raises:
        ValueError: a setting out of range.
    """

    def __init__(
        self,
        labels: tuple[str, ...] = ("wheeze", "crackle"),
        components: int = 256,
        c: float = 0.0003,
        inner_folds: int = 3,
        held: float = 0.5,
        touched: float = 0.1,
    ) -> None:
        if not labels or components < 1 or not c > 0 or inner_folds < 2 or not 0 < touched <= held <= 1:
            raise ValueError(
                f"labels is {list(labels)}, components {components}, c {c:g}, inner_folds {inner_folds}, held {held:g} and touched "
                f"{touched:g}, expected a label, at least 1, above 0, at least 2, and 0 < touched <= held <= 1"
            )
        self.labels, self.components, self.c = tuple(labels), components, c
        self.inner_folds, self.held, self.touched = inner_folds, held, touched


@dataclass
class Projection:
    """Standardised features of windows on their principal components; no target has a part in it.

    Attributes:
        components: at most.
    """

    components: int
    _steps: Any = None

    def fit(self, features: np.ndarray) -> "Projection":
        """Fit to ``features`` [W, D]; returns itself."""
        from sklearn.decomposition import PCA
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        # Of more windows than features the covariance is the shorter way to the same components, in a fraction of the memory.
        solver = "covariance_eigh" if len(features) > features.shape[1] else "full"
        self._steps = make_pipeline(StandardScaler(), PCA(min(self.components, *features.shape), svd_solver=solver))
        self._steps.fit(features)
        return self

    def transform(self, features: np.ndarray) -> np.ndarray:
        """[W, D] to [W, components]."""
        return np.asarray(self._steps.transform(features))


@dataclass
class Heard:
    """One logistic regression per label, fitted to the windows of which it is known whether they hold it.

    Attributes:
        detector: its settings.
    """

    detector: EventDetector
    _fitted: list[Any] = field(default_factory=list)

    def fit(self, features: np.ndarray, targets: np.ndarray) -> "Heard":
        """Fit to ``features`` [W, D] and ``targets`` [W, L] of 1, 0 or NaN; returns itself.

        Raises:
            UserError: a label is in none of the windows, or in all of them.
        """
        from sklearn.linear_model import LogisticRegression

        for column, label in enumerate(self.detector.labels):
            known = ~np.isnan(targets[:, column])
            truth = targets[known, column] == 1
            if truth.all() or not truth.any():
                raise UserError(
                    f"Of the windows that shall teach {label!r} in a fold, {int(truth.sum())} hold an event of it and "
                    f"{int((~truth).sum())} do not, and both are needed: annotate more, take fewer folds, or leave it out of "
                    "--model.detector.init_args.labels."
                )
            fitted = LogisticRegression(C=self.detector.c, class_weight="balanced", max_iter=1000)
            self._fitted.append(fitted.fit(features[known], truth))
        return self

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Of windows [W, D], [W, L]."""
        return np.column_stack([fitted.decision_function(features) for fitted in self._fitted])
