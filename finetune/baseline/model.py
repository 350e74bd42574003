"""One fold's classical model: fitted on training clips, it gives the probabilities of others."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from finetune.baseline.classifiers import SklearnClassifier
from finetune.baseline.resampling import Resampling
from finetune.tasks.base import Task

# Logit of a class that no training clip had, beside 0 of one that all had: a probability of 1e-7.
UNSEEN = -16.0


@dataclass
class BaselineModel:
    """One classifier per label (one against the rest), or one of all classes where the task's probabilities sum to 1.

    Attributes:
        task: labels and activation.
        classifier: makes the classifiers.
        resampling: of the training clips; None takes them as they are.
        seed: of everything drawn.
        constant: labels whose training clips were all of one class (or not annotated), which get one probability for all clips.
    """

    task: Task
    classifier: SklearnClassifier
    resampling: Resampling | None = None
    seed: int = 0
    constant: list[str] = field(default_factory=list, init=False)
    _fitted: list["_One"] = field(default_factory=list, init=False)

    def fit(self, features: np.ndarray, targets: np.ndarray) -> None:
        """Fit to ``features`` [n, D] and ``targets`` [n, L] of 1, 0 or NaN; where a target is unknown the clip is left out."""
        self.constant, self._fitted = [], []
        if self.task.one_of:
            known = ~np.isnan(targets).any(axis=1)
            self._fitted = [self._one(features[known], targets[known].argmax(axis=1))]
            self.constant = [] if self._fitted[0].estimator is not None else list(self.task.labels)
            return
        for column, label in enumerate(self.task.labels):
            known = ~np.isnan(targets[:, column])
            one = self._one(features[known], targets[known, column].astype(np.int64))
            self._fitted.append(one)
            if one.estimator is None:
                self.constant.append(label)

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Of ``features`` [n, D], float64 [n, L]."""
        if self.task.one_of:
            return self._of_classes(self._fitted[0], features, len(self.task.labels))
        return np.column_stack([self._of_classes(one, features, 2)[:, 1] for one in self._fitted])

    def held_out_figures(self, features: np.ndarray) -> dict[str, Any]:
        """Nothing: all that it says of clips is their probabilities."""
        return {}

    def linear(self, num_features: int) -> tuple[np.ndarray, np.ndarray]:
        """The fitted logistic regressions as one linear layer on features that are not standardised.

        Args:
            num_features: D.

        Returns:
            Weights [L, D] and biases [L], float64, whose logits give `probabilities`; of what is the same for all clips only to 1e-7.
        """
        num_outputs = len(self.task.labels)
        weights, biases = np.zeros((num_outputs, num_features)), np.zeros(num_outputs)
        if self.task.one_of:
            weights[:], biases[:] = self._logits(self._fitted[0], num_features, num_outputs)
            return weights, biases
        for row, one in enumerate(self._fitted):
            of_classes, bias = self._logits(one, num_features, 2)
            weights[row], biases[row] = of_classes[1] - of_classes[0], bias[1] - bias[0]
        return weights, biases

    def _logits(self, one: "_One", num_features: int, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
        """Weights [num_classes, D] and biases [num_classes] before a softmax; classes that training had not seen get next to nothing."""
        weights = np.zeros((num_classes, num_features))
        if one.estimator is None:
            return weights, np.where(np.isin(np.arange(num_classes), one.present) | (len(one.present) == 0), 0.0, UNSEEN)
        biases = np.full(num_classes, UNSEEN)
        coefficients, intercepts = one.estimator.coef_, one.estimator.intercept_
        if len(coefficients) == 1:
            # Of two classes there is one distance, as in `_of_classes`.
            coefficients, intercepts = np.concatenate([-coefficients, coefficients]) / 2, np.concatenate([-intercepts, intercepts]) / 2
        if one.scaler is not None:
            coefficients = coefficients / one.scaler.scale_
            intercepts = intercepts - coefficients @ one.scaler.mean_
        weights[one.present], biases[one.present] = coefficients, intercepts
        return weights, biases

    def _one(self, features: np.ndarray, classes: np.ndarray) -> "_One":
        present = np.unique(classes)
        if len(present) < 2:
            return _One(present)
        scaler = None
        if self.classifier.standardise:
            from sklearn.preprocessing import StandardScaler

            scaler = StandardScaler().fit(features)
            features = scaler.transform(features)
        if self.resampling is not None:
            features, classes = self.resampling.resample(features, classes, self.seed)
        return _One(present, scaler, self.classifier.make(self.seed).fit(features, classes))

    def _of_classes(self, one: "_One", features: np.ndarray, num_classes: int) -> np.ndarray:
        """Probabilities [n, num_classes]; classes that training had not seen get 0."""
        found = np.zeros((len(features), num_classes))
        if one.estimator is None:
            # Of a label that nobody annotated nothing is known.
            found[:, one.present if len(one.present) else slice(None)] = 1.0 if len(one.present) else 1 / num_classes
            return found
        features = features if one.scaler is None else one.scaler.transform(features)
        if hasattr(one.estimator, "predict_proba"):
            found[:, one.present] = one.estimator.predict_proba(features)
            return found
        distance = one.estimator.decision_function(features)
        # Softmax of (-d/2, d/2) is the sigmoid of d.
        logits = np.column_stack([-distance / 2, distance / 2]) if distance.ndim == 1 else distance
        found[:, one.present] = torch.from_numpy(logits).softmax(dim=1).numpy()
        return found


@dataclass(frozen=True)
class _One:
    """A fitted classifier.

    Attributes:
        present: classes of the training clips, ascending.
        scaler: what standardises the features before it.
        estimator: scikit-learn's; None where there were less than two classes.
    """

    present: np.ndarray
    scaler: Any = None
    estimator: Any = None
