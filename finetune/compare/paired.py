"""Differences of paired runs: the same patients are drawn for both, so what makes a patient hard for both cancels."""

from typing import Any

import numpy as np

from finetune.compare.setting import Setting
from finetune.evaluation.intervals.bootstrap import percentile_interval


def differences(reference: Setting, other: Setting) -> list[dict[str, Any]]:
    """One row per figure: both values, ``other`` minus ``reference``, its interval and p; None where a run lacks the figure."""
    values, reference_values, deviations = other.figures(), reference.figures(), other.seed_deviation()
    groups = reference.evaluations[0].intervals.groups
    rows = []
    for name, value in values.items():
        drawn, reference_value = other.draws(name) - reference.draws(name), reference_values[name]
        known = value is not None and reference_value is not None
        between = percentile_interval(drawn, groups) if known else None
        rows.append(
            {
                "figure": name,
                "reference": reference.name,
                "run": other.name,
                "reference_value": reference_value,
                "value": value,
                "difference": value - reference_value if value is not None and reference_value is not None else None,
                "interval": between,
                "p": two_sided_share(drawn) if between is not None else None,
                "sd_over_seeds": deviations[name],
            }
        )
    return rows


def two_sided_share(draws: np.ndarray) -> float:
    """Twice the share of resampled differences on the lesser side of 0, up to 1; 0 counts to both sides, and so does one more draw.

    With it the share is never 0, which no number of resamples could show (Davison & Hinkley, "Bootstrap Methods", 1997, section 4.2.5).
    It is not the p value of a test under the hypothesis of no difference, but what the percentile interval says of 0.
    """
    defined = draws[~np.isnan(draws)]
    lesser = min((defined <= 0).sum(), (defined >= 0).sum())
    return float(min(1.0, 2 * (lesser + 1) / (len(defined) + 1)))
