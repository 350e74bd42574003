"""One temperature for classes that exclude each other: the only map of the calibrators that keeps a softmax a softmax."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from finetune.evaluation.calibration.calibrators import MIN_SLOPE, SMALLEST, Calibrator, Fitted


class SoftmaxTemperature(Calibrator):
    """p' = softmax(log(p) / temperature): [..., C] -> [..., C], summing to 1; on one window exactly the temperature of its logits.

    Args:
        slope: 1 / temperature; 1 changes nothing.
    """

    def __init__(self, slope: float) -> None:
        super().__init__([], [], [], [])
        self.inverse_temperature = float(slope)

    def forward(self, probabilities: Tensor) -> Tensor:
        wide = probabilities.to(torch.float64).clamp(min=1e-6)
        return torch.softmax(torch.log(wide) * self.inverse_temperature, dim=-1).to(probabilities.dtype)

    def as_json(self, labels: Sequence[str]) -> dict[str, object]:
        """``{"temperature": ...}``: one for all classes."""
        return {"temperature": 1 / self.inverse_temperature}


def fit_softmax_temperature(targets: np.ndarray, probabilities: np.ndarray) -> Fitted:
    """Fit the temperature that minimises the negative log likelihood, which is convex in its inverse.

    Args:
        targets: [n, C], one-hot, or NaN where the class is unknown.
        probabilities: [n, C], of clips that the model was not trained on.

    Returns:
        The calibrator; all columns are unchanged where the clips are of one class only.

    Reference:
        Guo et al., "On calibration of modern neural networks", 2017, section 4.2.
    """
    known = ~np.isnan(targets).any(axis=1)
    truth = targets[known].argmax(axis=1)
    if len(np.unique(truth)) < 2:
        return Fitted(SoftmaxTemperature(1.0), tuple(range(targets.shape[1])))
    from scipy.optimize import minimize_scalar

    logits = np.log(np.maximum(probabilities[known], SMALLEST))

    def loss(log_slope: float) -> float:
        scaled = np.exp(log_slope) * logits
        return float((np.logaddexp.reduce(scaled, axis=1) - scaled[np.arange(len(truth)), truth]).mean())

    # In the logarithm, between the least slope that keeps the ranking and its inverse, where a separable set would run away.
    found = minimize_scalar(loss, bounds=(np.log(MIN_SLOPE), -np.log(MIN_SLOPE)), method="bounded", options={"xatol": 1e-6})
    return Fitted(SoftmaxTemperature(float(np.exp(found.x))), ())
