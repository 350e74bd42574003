"""The DataLoader's way in a process of its own, with the settings that a script starts with."""

import atexit
import multiprocessing
from multiprocessing.connection import Connection

import torch

from benchmarks.throughput.dataloader_way import DataLoaderWay, Loop
from common.errors import UserError
from common.training.allocator import keep_freed_memory


class OwnProcess:
    """Times a `DataLoaderWay` that runs elsewhere; the process waits while nobody asks.

    Args:
        loop: what it runs.
        keeps_memory: set its allocator as our commands set theirs, which a script does not do by itself.
    """

    def __init__(self, loop: Loop, keeps_memory: bool) -> None:
        context = multiprocessing.get_context("spawn")
        self._end, other = context.Pipe()
        # No daemon: the loop's workers are children of its own.
        self._process = context.Process(target=_serve, args=(other, loop, keeps_memory, torch.get_num_threads()))
        self._process.start()
        other.close()
        # Before the interpreter waits for its children, of which this one waits for questions.
        atexit.register(self.close)

    def step_seconds(self, steps: int) -> float:
        """Seconds per step, see `DataLoaderWay.step_seconds`.

        Raises:
            UserError: the process ended; its own words are on standard error.
        """
        try:
            self._end.send(steps)
            taken: float = self._end.recv()
        except (EOFError, OSError) as error:
            raise UserError("The process of the DataLoader's way ended; standard error says why.") from error
        return taken

    def close(self) -> None:
        """End the process."""
        self._end.close()
        self._process.join()


def _serve(asked: Connection, loop: Loop, keeps_memory: bool, threads: int) -> None:
    if keeps_memory:
        keep_freed_memory()
    torch.set_num_threads(threads)
    way = DataLoaderWay(loop)
    while True:
        try:
            steps = asked.recv()
        except EOFError:
            return
        asked.send(way.step_seconds(steps))
