"""Wall-clock time of work on any device."""

import statistics
import time
from collections.abc import Callable

import torch


def finish_work(device: torch.device) -> None:
    """Wait until ``device`` has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(work: Callable[[], object], device: torch.device, repeats: int = 1) -> float:
    """Seconds that ``work`` takes, the mean of ``repeats`` calls in a row."""
    finish_work(device)
    begun = time.perf_counter()
    for _ in range(repeats):
        work()
    finish_work(device)
    return (time.perf_counter() - begun) / repeats


def median_seconds(work: Callable[[], object], device: torch.device, repeats: int = 5) -> float:
    """Median of ``repeats`` calls after one that is not counted."""
    work()
    return statistics.median(seconds(work, device) for _ in range(repeats))
