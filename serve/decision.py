"""What is said of a recording, from probabilities: the bundle's thresholds, label rule, abstain bands and names of flags."""

from typing import Any

import numpy as np

from serve.schemas import LabelAnswer


def label_answers(probabilities: np.ndarray, description: dict[str, Any]) -> list[LabelAnswer]:
    """Probabilities [L] with their decisions.

    Args:
        probabilities: finite.
        description: the bundle's model.json.
    """
    labels, thresholds = description["labels"], description["thresholds"]
    decided = _decided(probabilities, description)
    bands = description.get("abstain") or {}
    return [
        LabelAnswer(
            label=label,
            probability=float(probability),
            threshold=threshold,
            decided=bool(decision),
            undecided=_within(bands.get(label), float(probability)),
        )
        for label, probability, threshold, decision in zip(labels, probabilities, thresholds, decided, strict=True)
    ]


def one_of(description: dict[str, Any]) -> bool:
    """Whether a recording has exactly one of the labels."""
    return description["decoding"] == "largest_quotient"


def flag_names(flags: int, description: dict[str, Any]) -> list[str]:
    """Names of the bits that are set."""
    return [name for bit, name in description["flags"].items() if flags & int(bit)]


def _decided(probabilities: np.ndarray, description: dict[str, Any]) -> np.ndarray:
    thresholds = np.asarray(description["thresholds"], np.float64)
    if one_of(description):
        # A threshold of 0 is met by every probability; the smallest number keeps the quotient finite.
        quotient = probabilities / np.maximum(thresholds, 1e-12)
        return np.arange(len(quotient)) == quotient.argmax()
    decided = probabilities >= thresholds
    exclusive = description["task"]["init_args"].get("exclusive")
    if exclusive is not None:
        column = description["labels"].index(exclusive)
        decided[column] = not np.delete(decided, column).any()
    return decided


def _within(band: list[float] | None, probability: float) -> bool:
    return band is not None and band[0] <= probability < band[1]
