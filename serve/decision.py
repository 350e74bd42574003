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
    decided, undecided = _decided(probabilities, description), _undecided(probabilities, description)
    return [
        LabelAnswer(
            label=label,
            probability=float(probability),
            threshold=threshold,
            decided=bool(decision),
            undecided=left,
        )
        for label, probability, threshold, decision, left in zip(labels, probabilities, thresholds, decided, undecided, strict=True)
    ]


def one_of(description: dict[str, Any]) -> bool:
    """Whether a recording has exactly one of the labels."""
    return description["decoding"] == "largest_quotient"


def the_one(labels: list[LabelAnswer], description: dict[str, Any]) -> str | None:
    """The one label of a recording; None where the model's labels do not exclude each other, or a person should decide."""
    if not one_of(description) or any(label.undecided for label in labels):
        return None
    return next(label.label for label in labels if label.decided)


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


def _undecided(probabilities: np.ndarray, description: dict[str, Any]) -> list[bool]:
    """Which labels a person should decide; all or none by the limit of classes that exclude each other."""
    limit, bands = description.get("abstain_limit"), description.get("abstain") or {}
    if limit is not None:
        return [float(probabilities.max()) < limit] * len(probabilities)
    low_high = [bands.get(label) or (0.0, 0.0) for label in description["labels"]]
    return [low <= probability < high for probability, (low, high) in zip(probabilities.tolist(), low_high, strict=True)]
