"""One temperature for exclusive classes: it finds the one that was put in, and is the best there is."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax

from finetune.evaluation.calibration.calibrators import fit_affine
from finetune.evaluation.calibration.softmax_temperature import SoftmaxTemperature, fit_softmax_temperature


def made(clips: int, classes: int, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """One-hot truths drawn from calibrated probabilities, and those probabilities as a network with another temperature gives them."""
    random = np.random.default_rng(0)
    logits = 2 * random.normal(size=(clips, classes))
    truth = (softmax(logits, axis=1).cumsum(axis=1) > random.random((clips, 1))).argmax(axis=1)
    return np.eye(classes)[truth], softmax(logits / temperature, axis=1)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_a_temperature_is_undone(temperature: float) -> None:
    targets, probabilities = made(20000, 4, temperature)
    targets[:50] = np.nan
    fitted = fit_softmax_temperature(targets, probabilities)
    found = fitted.calibrator.as_json(("a", "b", "c", "d"))["temperature"]
    assert found == pytest.approx(1 / temperature, rel=0.03) and fitted.unchanged == ()


def test_nothing_near_it_is_better() -> None:
    targets, probabilities = made(500, 3, 2.0)
    found = fit_softmax_temperature(targets, probabilities).calibrator

    def loss(slope: float) -> float:
        return float(-(targets * log_softmax(slope * np.log(probabilities), axis=1)).sum())

    assert isinstance(found, SoftmaxTemperature)
    best = loss(found.inverse_temperature)
    assert best <= loss(found.inverse_temperature * 1.01) and best <= loss(found.inverse_temperature / 1.01)
    np.testing.assert_allclose(found.numpy(probabilities), softmax(found.inverse_temperature * np.log(probabilities), axis=1))


def test_of_two_classes_it_is_the_slope_of_one() -> None:
    targets, probabilities = made(5000, 2, 2.0)
    found = fit_softmax_temperature(targets, probabilities).calibrator
    slope, _ = fit_affine(targets[:, 1] == 1, probabilities[:, 1], with_offset=False)
    # Platt's smoothed targets pull the latter towards 0 by about one clip.
    assert isinstance(found, SoftmaxTemperature) and found.inverse_temperature == pytest.approx(slope, rel=0.01)


def test_one_class_alone_changes_nothing_and_the_file_computes_the_same() -> None:
    targets = np.eye(3)[[0, 0, 0]]
    fitted = fit_softmax_temperature(targets, np.full((3, 3), 1 / 3))
    assert fitted.unchanged == (0, 1, 2) and fitted.calibrator.as_json("abc") == {"temperature": 1.0}
    calibrator = SoftmaxTemperature(0.5)
    scripted = torch.jit.script(calibrator)
    probabilities = torch.rand(5, 3).softmax(dim=1)
    torch.testing.assert_close(scripted(probabilities), calibrator(probabilities))
    torch.testing.assert_close(scripted(torch.tensor([[1.0, 0.0, 0.0]])).sum(), torch.tensor(1.0))
