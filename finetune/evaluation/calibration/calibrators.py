"""What makes probabilities mean what they say: one increasing map per label, fitted on predictions of clips that were not trained on.

Fitted with numpy and scikit-learn, applied by a module that TorchScript can compile: report and exported file run the same code.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

Method = Literal["temperature", "platt", "isotonic"]
METHODS: tuple[Method, ...] = ("temperature", "platt", "isotonic")

SMALLEST = 1e-6
"""Probabilities are kept this far from 0 and 1, beyond which a float32 has no logit."""
MIN_SLOPE = 0.01
"""Of the affine map on the logit: a calibrator must not turn the ranking round, whatever few clips say."""


class Calibrator(nn.Module):
    """Apply one map per label to probabilities [..., L] -> [..., L].

    A label's map is p' = interpolate(knots, sigmoid(slope logit(p) + offset)): affine on the logit, piecewise linear on the
    probability, or neither, by its parameters. Without knots the second step is left out.

    Args:
        slope: L numbers, 1 for no change.
        offset: L numbers, 0 for no change.
        knots: per label the ascending probabilities between which is interpolated, and beyond which the end values hold; empty for
            no change.
        values: per label the ascending values at its knots.
    """

    def __init__(
        self, slope: Sequence[float], offset: Sequence[float], knots: Sequence[Sequence[float]], values: Sequence[Sequence[float]]
    ) -> None:
        super().__init__()
        self.slope, self.offset = list(map(float, slope)), list(map(float, offset))
        self.knots = [torch.tensor(list(of_label), dtype=torch.float64) for of_label in knots]
        self.values = [torch.tensor(list(of_label), dtype=torch.float64) for of_label in values]

    def forward(self, probabilities: Tensor) -> Tensor:
        # In float64: near 0 and 1, and between near knots, float32 would lose what the map is about.
        wide = probabilities.to(torch.float64)
        columns: list[Tensor] = []
        for label in range(len(self.slope)):
            column = wide[..., label]
            if self.slope[label] != 1.0 or self.offset[label] != 0.0:
                column = torch.sigmoid(torch.logit(column, 1e-6) * self.slope[label] + self.offset[label])
            if len(self.knots[label]) > 0:
                column = self.interpolate(column, self.knots[label].to(column.device), self.values[label].to(column.device))
            columns.append(column)
        return torch.stack(columns, dim=-1).to(probabilities.dtype)

    def interpolate(self, column: Tensor, knots: Tensor, values: Tensor) -> Tensor:
        if len(knots) == 1:
            return torch.zeros_like(column) + values[0]
        # As torch.searchsorted, which no ONNX operator does.
        right = (column.unsqueeze(-1) > knots).sum(dim=-1).clamp(1, len(knots) - 1)
        share = ((column - knots[right - 1]) / (knots[right] - knots[right - 1])).clamp(0.0, 1.0)
        return values[right - 1] + share * (values[right] - values[right - 1])

    def numpy(self, probabilities: np.ndarray) -> np.ndarray:
        """As `forward`, float64 [n, L]."""
        with torch.inference_mode():
            return self(torch.from_numpy(np.array(probabilities, dtype=np.float64))).numpy().copy()

    def as_json(self, labels: Sequence[str]) -> dict[str, object]:
        """Label -> slope, offset, knots and values."""
        return {
            label: {
                "slope": self.slope[index],
                "offset": self.offset[index],
                "knots": self.knots[index].tolist(),
                "values": self.values[index].tolist(),
            }
            for index, label in enumerate(labels)
        }


@dataclass(frozen=True)
class Fitted:
    """A calibrator and what it could not learn.

    Attributes:
        calibrator: of L labels.
        unchanged: columns whose clips are of one class or one probability, and whose probabilities are left as they are.
    """

    calibrator: Calibrator
    unchanged: tuple[int, ...]


def fit_calibrator(targets: np.ndarray, probabilities: np.ndarray, method: Method) -> Fitted:
    """Fit one map per label.

    Args:
        targets: [n, L] of 1, 0 or NaN (left out).
        probabilities: [n, L], of clips that the model was not trained on.
        method: "temperature": slope alone (Guo et al. 2017, one temperature 1 / slope per label); "platt": slope and offset (Platt
            1999), which also undoes what class weights did to the prevalence; "isotonic": any increasing map, see `fit_isotonic`.
    """
    slope, offset, knots, values, unchanged = [], [], [], [], []
    for column in range(targets.shape[1]):
        known = ~np.isnan(targets[:, column])
        truth, scores = targets[known, column] == 1, probabilities[known, column]
        affine, steps = (1.0, 0.0), (np.empty(0), np.empty(0))
        if truth.all() or not truth.any() or len(np.unique(scores)) < 2:
            unchanged.append(column)
        elif method == "isotonic":
            steps = fit_isotonic(truth, scores)
        else:
            affine = fit_affine(truth, scores, with_offset=method == "platt")
        slope.append(affine[0])
        offset.append(affine[1])
        knots.append(steps[0].tolist())
        values.append(steps[1].tolist())
    return Fitted(Calibrator(slope, offset, knots, values), tuple(unchanged))


def fit_affine(truth: np.ndarray, probabilities: np.ndarray, with_offset: bool) -> tuple[float, float]:
    """Slope and offset on the logit that minimise the log loss, by Newton's method.

    Targets are (N+ + 1) / (N+ + 2) and 1 / (N- + 2) in place of 1 and 0 (Platt 1999, section 2.2), without which the slope runs
    away where the classes are separable. The loss is convex; the slope is held at `MIN_SLOPE` where it would be less.

    Args:
        truth: bool [n], both classes.
        probabilities: [n], at least two values.
        with_offset: False fits the slope alone.
    """
    clipped = np.clip(probabilities, SMALLEST, 1 - SMALLEST)
    logits = np.log(clipped) - np.log1p(-clipped)
    positives, negatives = truth.sum(), (~truth).sum()
    wanted = np.where(truth, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    slope_fitted, offset_fitted = _newton(logits, wanted, np.array([True, with_offset]), np.array([1.0, 0.0]))
    if slope_fitted >= MIN_SLOPE:
        return slope_fitted, offset_fitted
    return _newton(logits, wanted, np.array([False, with_offset]), np.array([MIN_SLOPE, 0.0]))


def _newton(logits: np.ndarray, wanted: np.ndarray, free: np.ndarray, start: np.ndarray) -> tuple[float, float]:
    design = np.column_stack([logits, np.ones_like(logits)])

    def loss(parameters: np.ndarray) -> float:
        outputs = design @ parameters
        return float((np.logaddexp(0, outputs) - wanted * outputs).sum())

    parameters, value = start, loss(start)
    for _ in range(100):
        probability = 1 / (1 + np.exp(-np.clip(design @ parameters, -700, 700)))
        gradient = design.T @ (probability - wanted) * free
        if not free.any() or np.abs(gradient).max() < 1e-9 * len(logits):
            break
        curvature = (design * (probability * (1 - probability))[:, None]).T @ design + 1e-12 * np.eye(2)
        step = np.zeros(2)
        step[free] = np.linalg.solve(curvature[np.ix_(free, free)], gradient[free])
        # A full step may overshoot where the curvature has all but vanished.
        for _ in range(40):
            tried = loss(parameters - step)
            if tried <= value:
                break
            step /= 2
        else:
            break
        parameters, value = parameters - step, tried
    return float(parameters[0]), float(parameters[1])


def fit_isotonic(truth: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Knots and values of the centred isotonic regression of ``truth`` (bool [n]) on ``probabilities`` [n].

    Isotonic regression is a staircase: clips of a step become equal and can no longer be ranked, and between two steps the answer jumps.
    So each step is one knot at the mean probability of its clips, and straight lines join the knots.

    Reference:
        Zadrozny & Elkan, "Transforming classifier scores into accurate multiclass probability estimates", 2002; Oron & Flournoy,
        "Centered isotonic regression", Statistics in Biopharmaceutical Research 9, 2017.
    """
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit_transform(probabilities, truth)
    values, step = np.unique(np.round(fitted, 12), return_inverse=True)
    return np.bincount(step, weights=probabilities) / np.bincount(step), values
