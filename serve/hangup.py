"""SIGHUP: read the bundle again."""

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from serve.current_model import CurrentModel
from serve.errors import Refusal


@contextmanager
def swap_on_hangup(current: CurrentModel) -> Iterator[None]:
    """Within the block SIGHUP swaps the model. Only a process's main thread hears signals; elsewhere this does nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    swaps: set[asyncio.Task[None]] = set()

    async def swap() -> None:
        # It is logged and counted where it happens; the old model goes on.
        with suppress(Refusal):
            await current.swap()

    def begin() -> None:
        task = loop.create_task(swap())
        swaps.add(task)
        task.add_done_callback(swaps.discard)

    loop.add_signal_handler(signal.SIGHUP, begin)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
