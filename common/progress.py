"""Progress on standard error, so that standard output stays for results."""

from collections.abc import Iterable
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

T = TypeVar("T")

console = Console(stderr=True)


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterable[T]:
    """Yield ``items`` with a progress bar on standard error.

    Args:
        items: what to walk through.
        description: what is being done, a few words.
        total: number of items, where ``items`` has no length.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        yield from progress.track(items, description=description, total=total)


def say(text: str) -> None:
    """Print one line for a person on standard error."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)
