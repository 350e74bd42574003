"""Several ways timed in turns, so that a noisy machine is noisy to all of them alike."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Way = Callable[[Sequence[Path]], object]
MOST = 200
# Threads of OpenMP and OpenBLAS go on waiting for work without sleeping, the latter for about a tenth of a second: without a pause they
# would take the processor from the way after theirs. So those that use OpenBLAS stand last in a round.
PAUSE_S, PAUSE_BETWEEN_ROUNDS_S = 0.01, 0.15


def in_turns(ways: Mapping[str, Way], paths: Sequence[Path], seconds: float) -> dict[str, list[float]]:
    """Seconds that each way takes for ``paths``, once a round.

    Args:
        ways: name -> way, those by librosa last; each is first called for up to two of ``paths``, which is not counted.
        paths: files of one length.
        seconds: after which no round begins but the first; nor does one after `MOST`. So the largest cases get one round.
    """
    for way in ways.values():
        way(paths[:2])
    taken: dict[str, list[float]] = {name: [] for name in ways}
    begun = time.perf_counter()
    for rounds in range(MOST):
        if rounds and time.perf_counter() - begun > seconds:
            break
        time.sleep(PAUSE_BETWEEN_ROUNDS_S)
        for name, way in ways.items():
            time.sleep(PAUSE_S)
            start = time.perf_counter()
            way(paths)
            taken[name].append(time.perf_counter() - start)
    return taken


def median_ms(taken: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {name: round(1000 * statistics.median(seconds), 2) for name, seconds in taken.items()}


def summary(taken: Mapping[str, Sequence[float]], audio_s: float) -> dict[str, Any]:
    """Per way: p50_ms, p99_ms (null below 100 rounds), rounds, and real_time_factor: seconds of work per second of audio.

    Args:
        taken: seconds by way.
        audio_s: of all files together.
    """
    return {
        name: {
            "p50_ms": p50_ms,
            "p99_ms": round(1000 * float(np.quantile(taken[name], 0.99)), 2) if len(taken[name]) >= 100 else None,
            "rounds": len(taken[name]),
            "real_time_factor": round(p50_ms / 1000 / audio_s, 6),
        }
        for name, p50_ms in median_ms(taken).items()
    }


def ratio(slower: Sequence[float], faster: Sequence[float]) -> float:
    """Median over the rounds of how many times as long the first takes."""
    return statistics.median(one / other for one, other in zip(slower, faster, strict=True))
