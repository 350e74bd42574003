"""Ticks in Hz on a picture whose rows are not spaced evenly in Hz: the bands of a front end, or a logarithmic axis."""

import numpy as np

ROUND_HZ = np.array([20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000])


def hz_ticks(row_hz: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Where round frequencies lie among the rows of a picture.

    Args:
        row_hz: frequency of each row, Hz, [F], rising or falling, of at least one finite value; NaN where a row has none.

    Returns:
        Places, in rows from 0 and between them, and what to write there: 20, 50, 100, ... Hz as far as they lie within, or the two ends
        where fewer than two do.

    Example:
        >>> places, words = hz_ticks(np.array([50.0, 150.0, 250.0]))
        >>> places.tolist(), words
        ([0.0, 0.5, 1.5], ['50', '100', '200'])
    """
    known = np.flatnonzero(np.isfinite(row_hz))
    rows = known[np.argsort(row_hz[known])]
    lowest, highest = row_hz[rows[[0, -1]]]
    inside = ROUND_HZ[(lowest <= ROUND_HZ) & (highest >= ROUND_HZ)]
    shown = inside if len(inside) > 1 else np.array([lowest, highest])
    return np.interp(shown, row_hz[rows], rows), [f"{hz:.0f}" for hz in shown]
