"""Work on many recordings in threads.

libsndfile, SHA-256, NumPy and torch let go of the interpreter lock while they work, threads start at once where worker processes
would each import torch first, and nothing can hang in a fork or outlive a killed command.
"""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

from common.progress import track

T = TypeVar("T")
R = TypeVar("R")


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Resample on one thread in each worker thread, which inherit the number; their own parallelism is over recordings."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def map_in_threads(function: Callable[[T], R], items: list[T], workers: int | None, description: str) -> Generator[R, None, None]:
    """Apply ``function`` to each of ``items``; yield the results in order, with a progress bar.

    Args:
        function: called in several threads at once.
        items: what to apply it to.
        workers: threads; 0 works in the calling thread, None takes one per CPU.
        description: for the progress bar, a few words.
    """
    if not items:
        return
    threads = min(os.cpu_count() or 1 if workers is None else workers, len(items))
    if threads == 0:
        yield from track(map(function, items), description, total=len(items))
        return
    pool = ThreadPoolExecutor(threads)
    try:
        yield from track(_in_order(pool, function, items, ahead=4 * threads), description, total=len(items))
    finally:
        pool.shutdown(cancel_futures=True)


def _in_order(pool: ThreadPoolExecutor, function: Callable[[T], R], items: list[T], ahead: int) -> Iterator[R]:
    """Results in the order of ``items``, at most ``ahead`` of them in memory, which pool.map would not promise."""
    pending: deque[Future[R]] = deque()
    for item in items:
        pending.append(pool.submit(function, item))
        if len(pending) == ahead:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()
