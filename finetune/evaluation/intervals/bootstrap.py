"""The bootstrap over patients: how often each clip counts in each resample, and the interval that the resamples give.

Clips of one patient are alike: drawing clips would take a patient's twenty recordings for twenty independent facts and give
intervals that are too narrow. So whole patients are drawn with replacement.
"""

from collections.abc import Iterator, Mapping

import numpy as np

Interval = tuple[float, float] | None
Draws = dict[str, np.ndarray]

CHUNK = 200


def patient_weights(group: np.ndarray, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each clip is drawn: yields [C, n], ``resamples`` rows in all, whole numbers as floats.

    In chunks, since a weight per resample and clip would take gigabytes on tens of thousands of clips. The same groups and seed
    give the same weights, so that two runs on the same clips can be compared resample by resample.

    Args:
        group: [n], the patient or recording of each clip; one with an empty name is never drawn.
        resamples: number of draws.
        seed: of the draws.

    Reference:
        Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13; by clusters: Field & Welsh, 2007.
    """
    drawn = group != ""
    names, member = np.unique(group[drawn], return_inverse=True)
    generator = np.random.default_rng(seed)
    for start in range(0, resamples, CHUNK):
        count = min(CHUNK, resamples - start)
        weights = np.zeros((count, len(group)))
        if len(names):
            weights[:, drawn] = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=count)[:, member]
        yield weights


def count_groups(group: np.ndarray) -> int:
    """How many patients or recordings `patient_weights` draws from."""
    return len(np.unique(group[group != ""]))


def percentile_interval(draws: np.ndarray, groups: int) -> Interval:
    """The 2.5th and 97.5th percentile of ``draws`` [R]; None with fewer than two groups, or where most draws are NaN."""
    defined = draws[~np.isnan(draws)]
    if groups < 2 or 2 * len(defined) <= len(draws):
        return None
    low, high = np.percentile(defined, [2.5, 97.5])
    return float(low), float(high)


def percentile_intervals(draws: Mapping[str, np.ndarray], groups: int) -> dict[str, Interval]:
    """`percentile_interval` of every figure."""
    return {name: percentile_interval(values, groups) for name, values in draws.items()}


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """``part / whole``, NaN where the whole is 0."""
    return np.divide(part, whole, out=np.full(np.broadcast(part, whole).shape, np.nan), where=np.asarray(whole) > 0)
