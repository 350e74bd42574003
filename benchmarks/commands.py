"""The packages' commands, called from code with the words that a person would type, in one process so that libraries load once."""

import importlib
from typing import Any

from common import cli
from common.progress import say


def call(package: str, *args: object) -> Any:
    """Say and run ``python -m package args``; returns the command's figures, and lets a `UserError` through."""
    words = [str(arg) for arg in args]
    say(f"\n$ python -m {package} {' '.join(words)}")
    return cli.call(f"python -m {package}", importlib.import_module(f"{package}.__main__").COMMANDS, words)
