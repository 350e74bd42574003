"""Every ``python -m`` line of the documentation is parsed by the command that it calls, and every command is shown."""

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from common import cli
from serve.page.__main__ import parser
from serve.page.options import parse_services
from serve.settings import parse
from tests.docs.pages import DOCUMENTED, PACKAGES, ROOT


class Understood(BaseException):
    """The arguments were taken; nothing is run. A BaseException, so that no command takes it for a mistake."""


def check(words: list[str]) -> None:
    """Give a command to its package, with the work behind the parsing taken out.

    Raises:
        SystemExit: the command or an argument is unknown, missing or of the wrong type (code 2).
    """
    package, *args = words
    if package == "serve":
        parse(args)
        return
    if package == "serve.page":
        parse_services(parser().parse_args(args).service)
        return
    assert package in PACKAGES, f"{package} is no package with commands"

    def stop(*_: Any, **__: Any) -> Any:
        raise Understood

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        load = cli.Command.load
        patch.setattr(cli.Command, "load", lambda command: load(command) if command.parses_itself else _same_signature(load(command), stop))
        # Stages parse their arguments into a whole configuration before anything is read; a cross-validation then plans.
        patch.setattr("common.training.stage.Stage.fit", lambda stage, rest: stop(stage.parse(rest)))
        patch.setattr("finetune.crossval.command._plan", stop)
        patch.setattr("finetune.baseline.command.plan_run", stop)
        patch.setattr("finetune.search.command.make_plan", stop)
        patch.setattr("pretrain.folds.read_folds", lambda path: pd.DataFrame({"fold": [0, 1]}))
        try:
            importlib.import_module(f"{package}.__main__").main(args)
        except Understood:
            return
        except SystemExit as end:
            # --help and --print_config end so.
            if end.code not in (0, None):
                raise
            return
    raise AssertionError(f"{' '.join(words)} ended without being understood")


def _same_signature(function: Callable[..., Any], stop: Callable[..., Any]) -> Callable[..., Any]:
    def taken(**arguments: Any) -> Any:
        inspect.signature(function).bind(**arguments)
        return stop()

    for name in ("__module__", "__name__", "__qualname__", "__doc__", "__annotations__"):
        setattr(taken, name, getattr(function, name))
    taken.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    return taken


@pytest.mark.parametrize("words", [words for _, words in DOCUMENTED], ids=[f"{name}: {' '.join(words)[:70]}" for name, words in DOCUMENTED])
def test_a_documented_command_is_understood(words: list[str]) -> None:
    check(words)


@pytest.mark.parametrize(
    "line",
    [
        "common manifest spr --root x --out y",
        "common manifest sprsound --root x --out y --units events",
        "common manifest sprsound --root x --out y --unit cycles",
        "common audit --manifest x",
        "pretrain fit -c configs/none.yaml --data.manifest x",
        "pretrain folds -c configs/pretrain.yaml --data.manifest x --folds y --out z --model.temprature 1",
        "finetune crossval -c configs/finetune.yaml --data.manifest x --data.folds y --encode z",
        "finetune fit -c configs/finetune.yaml --data.manifest x --data.folds y --model.mode half",
        "serve --model x --backend tensorflow",
        "serve --model x --max_second 1 --nonsense 1",
    ],
)
def test_a_wrong_command_would_be_noticed(line: str) -> None:
    with pytest.raises(SystemExit) as end:
        check(line.split())
    assert end.value.code == 2


@pytest.mark.parametrize(
    "line",
    [
        "pretrain fit -c configs/pretrain.yaml --data.manifest x --checkpoint-minutes 3",
        "finetune fit -c configs/finetune.yaml --data.manifest x --data.folds y --checkpoint-minutes 3 --data.batch-size 8",
        "finetune crossval -c configs/finetune.yaml --data.manifest x --data.folds y --allow-leaks z --skip-near-duplicates",
        "finetune baseline -c configs/baseline.yaml --data.manifest x --data.folds y --allow-leaks z --data.fit-validation true",
        "finetune search -c configs/finetune.yaml --data.manifest x --data.folds y --space s --inner-folds 3 --data.batch-size 8",
        "finetune folds --manifest x --out y --num-folds 3",
    ],
)
def test_dashes_and_underscores_are_one(line: str) -> None:
    check(line.split())
    check([f"--{word[2:].replace('-', '_')}" if word.startswith("--") else word for word in line.split()])


def test_every_command_is_documented() -> None:
    shown = {tuple(word for word in words[:3] if not word.startswith("-")) for _, words in DOCUMENTED}

    def leaves(table: cli.Commands, path: tuple[str, ...]) -> set[tuple[str, ...]]:
        found: set[tuple[str, ...]] = set()
        for name, entry in table.items():
            found |= {(*path, name)} if isinstance(entry, cli.Command) else leaves(entry, (*path, name))
        return found

    every = set().union(*(leaves(importlib.import_module(f"{package}.__main__").COMMANDS, (package,)) for package in PACKAGES))
    # The made patients belong to `make demo`.
    assert every - shown <= {("common", "synthetic")}
    assert len(DOCUMENTED) > 30
