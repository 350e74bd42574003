"""Made truths with probabilities that are too sure."""

import numpy as np


def made(n: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Truth, and probabilities that are too sure and too high."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=n)
    truth = generator.random(n) < 1 / (1 + np.exp(-logits))
    return truth, 1 / (1 + np.exp(-(3 * logits + 1)))


def logit(p: np.ndarray) -> np.ndarray:
    return np.log(p / (1 - p))
