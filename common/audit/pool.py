"""Examine many recordings, in this process or in several, in a fixed order and with a progress bar."""

import functools
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import torch

from common.audit.examine import Observation, Recording, examine
from common.errors import UserError
from common.progress import track

# A worker process spends seconds on importing torch, in which one process examines some hundred recordings.
WORTH_A_POOL = 500


def examine_all(recordings: Sequence[Recording], sample_rate: int, workers: int | None) -> Iterator[Observation]:
    """Yield what `examine` finds at every clip, recording by recording in the given order.

    One recording per process is in memory at a time.

    Args:
        recordings: files with their clips.
        sample_rate: rate that they will be resampled to, Hz.
        workers: processes beside this one; 0 works in this one; None takes one per core where there is enough to do.

    Raises:
        UserError: a worker process died, most likely for want of memory.
    """
    if workers is None:
        workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        workers = workers if len(recordings) >= WORTH_A_POOL and workers > 1 else 0
    examine_one = functools.partial(examine, sample_rate=sample_rate)
    if workers <= 0:
        for recording in track(recordings, "Auditing recordings"):
            yield from examine_one(recording)
        return
    # Spawned, not forked: a fork of a process whose torch runs threads may hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            results = pool.map(examine_one, recordings, chunksize=8)
            for observations in track(results, "Auditing recordings", total=len(recordings)):
                yield from observations
        except BrokenProcessPool as error:
            raise UserError(
                "A worker process of the audit died, most likely for want of memory: use fewer --workers (0 is none)."
            ) from error
