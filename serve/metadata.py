"""Metadata beside the audio, as a client gives them, to the row of numbers that the model takes."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from serve.errors import Refusal

LARGEST = float(np.finfo(np.float32).max)


def metadata_row(given: Mapping[str, Any] | None, taken: Mapping[str, Any] | None) -> np.ndarray | None:
    """A raw row float32 [M] in the order of the model's columns; NaN is missing, as is a value outside of a vocabulary.

    Args:
        given: column -> value of one recording.
        taken: ``metadata`` of the bundle's model.json: ``columns``, ``numbers`` and ``vocabularies``; None for a model that takes none.

    Raises:
        Refusal: the model takes no metadata, a column is not one of its, or a number is none.
    """
    if taken is None:
        if given:
            raise Refusal("bad_metadata", "The model takes no metadata: leave them out.")
        return None
    given = given or {}
    if not given.keys() <= set(taken["columns"]):
        raise Refusal(
            "bad_metadata", f"Metadata with a column that is none of the model's: expected some of {', '.join(taken['columns'])}."
        )
    return np.array([_value(column, given.get(column), taken) for column in taken["columns"]], np.float32)


def _value(column: str, value: Any, taken: Mapping[str, Any]) -> float:
    if value is None:
        return np.nan
    if column not in taken["numbers"]:
        known = taken["vocabularies"][column]
        return float(known.index(value)) if value in known else np.nan
    # Written so that NaN, and an integer of a thousand digits, fail it too.
    if isinstance(value, bool) or not isinstance(value, int | float) or not -LARGEST <= value <= LARGEST:
        raise Refusal("bad_metadata", f"The metadata column {column!r} is not a finite number: give one, or null for missing.")
    return float(value)
