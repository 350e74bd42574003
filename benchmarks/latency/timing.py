"""Several ways timed in turns, so that a noisy machine is noisy to all of them alike."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

FEWEST, MOST = 3, 200


def in_turns(ways: Mapping[str, Callable[[Sequence[Path]], np.ndarray]], paths: Sequence[Path], seconds: float) -> dict[str, list[float]]:
    """Seconds that each way takes for ``paths``, once a round.

    Args:
        ways: name -> way; called once before, which is not counted.
        paths: files of one length.
        seconds: after which no round begins, but for the first `FEWEST`; nor does one after `MOST`.
    """
    for way in ways.values():
        way(paths)
    taken: dict[str, list[float]] = {name: [] for name in ways}
    begun = time.perf_counter()
    for rounds in range(MOST):
        if rounds >= FEWEST and time.perf_counter() - begun > seconds:
            break
        for name, way in ways.items():
            start = time.perf_counter()
            way(paths)
            taken[name].append(time.perf_counter() - start)
    return taken


def summary(taken: Mapping[str, Sequence[float]], audio_s: float) -> dict[str, Any]:
    """Per way: p50_ms, p99_ms (null below 100 rounds), rounds, and real_time_factor: seconds of work per second of audio.

    Args:
        taken: seconds by way.
        audio_s: of all files together.
    """
    return {
        name: {
            "p50_ms": round(1000 * statistics.median(seconds), 2),
            "p99_ms": round(1000 * float(np.quantile(seconds, 0.99)), 2) if len(seconds) >= 100 else None,
            "rounds": len(seconds),
            "real_time_factor": round(statistics.median(seconds) / audio_s, 6),
        }
        for name, seconds in taken.items()
    }


def ratio(slower: Sequence[float], faster: Sequence[float]) -> float:
    """Median over the rounds of how many times as long the first takes."""
    return statistics.median(one / other for one, other in zip(slower, faster, strict=True))
