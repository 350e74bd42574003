"""The command line of a package: a table of commands, typed functions behind them, one sentence for a mistake.

A command is a typed function whose docstring is its ``--help`` (jsonargparse). It returns its figures as a dictionary, which is
printed as one JSON object in the last line of standard output. Everything else goes to standard error.
"""

import argparse
import importlib
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args, get_origin, get_type_hints

from common.errors import UserError

# Characters of a parser's complaint.
LONGEST_SENTENCE = 600


@dataclass(frozen=True)
class Command:
    """One command of a package.

    Attributes:
        target: ``module:function``, imported only when the command is called, since importing torch takes seconds.
        summary: one line for the package's ``--help``.
        parses_itself: the function takes the list of arguments, as LightningCLI does, in place of typed parameters.
        first: the parameter that a first word without dashes before it is: ``verify work/bundle`` is ``verify --bundle work/bundle``.
    """

    target: str
    summary: str
    parses_itself: bool = False
    first: str | None = None

    def load(self) -> Callable[..., Any]:
        module, _, function = self.target.partition(":")
        return getattr(importlib.import_module(module), function)


Commands = Mapping[str, "Command | Commands"]


def run(prog: str, commands: Commands, args: Sequence[str] | None = None) -> Any:
    """Run one command and return what it returned; on a mistake print one sentence and exit non-zero.

    Args:
        prog: how the package is called, for example ``python -m common``.
        commands: command name -> command, or a table of sub-commands.
        args: arguments after the program's name; those of the process by default.

    Raises:
        SystemExit: 0 after ``--help``, 1 when the work failed on the user's data, 2 when the arguments are wrong.
    """
    return conclude(lambda: call(prog, commands, args))


def conclude(work: Callable[[], Any]) -> Any:
    """Do ``work`` as a command: its figures become the last line of standard output, a mistake one sentence and an exit code.

    Raises:
        SystemExit: 1 when the work failed on the user's data, 130 when it was interrupted.
    """
    try:
        figures = work()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from error
    except KeyboardInterrupt:
        print("interrupted: run the same command again to go on.", file=sys.stderr)
        raise SystemExit(130) from None
    # Of several processes that train together, the first speaks.
    if isinstance(figures, dict) and os.environ.get("LOCAL_RANK", "0") == "0":
        print(json.dumps(figures, allow_nan=False), flush=True)
    return figures


def call(prog: str, commands: Commands, args: Sequence[str] | None = None) -> Any:
    """As `run`, but let a `UserError` through and print no figures: for code that drives commands as a person would."""
    rest = list(sys.argv[1:] if args is None else args)
    table: Commands | Command = commands
    while not isinstance(table, Command):
        name = rest.pop(0) if rest else ""
        if name in ("", "-h", "--help"):
            # Asked for it is the result; else standard output stays for figures.
            print(_overview(prog, table), file=sys.stdout if name else sys.stderr)
            raise SystemExit(0 if name else 2)
        if name not in table:
            _refuse(f"unknown command {name!r} of '{prog}': expected one of {', '.join(table)}.")
        table, prog = table[name], f"{prog} {name}"
    logging.getLogger("jsonargparse").setLevel(logging.ERROR)
    # Lightning imports onnxruntime where it is installed, which calls a host of its makers some seconds later.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    function = table.load()
    if table.parses_itself:
        return function(rest)
    if table.first is not None and rest and not rest[0].startswith("-"):
        rest.insert(0, f"--{table.first}")
    return _call_typed(prog, function, rest)


def dashes_to_underscores(args: Sequence[str]) -> list[str]:
    """Accept ``--sample-rate`` for ``--sample_rate``: parameters are Python names, fingers know dashes."""
    renamed = []
    for arg in args:
        name, equals, value = arg.partition("=")
        renamed.append(name[:2] + name[2:].replace("-", "_") + equals + value if name.startswith("--") else arg)
    return renamed


def own_parser(prog: str, description: str, epilog: str | None = None, usage: str | None = None) -> argparse.ArgumentParser:
    """A parser, yet without options, for `own_arguments`: it leaves help and mistakes to its caller, and takes no shortened names."""
    return argparse.ArgumentParser(
        prog=prog, description=description, epilog=epilog, usage=usage, add_help=False, allow_abbrev=False, exit_on_error=False
    )


def own_arguments(parser: argparse.ArgumentParser, args: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The options of a command that hands all others to another parser, and these others; both with underscores.

    Args:
        parser: of the own options, as `own_parser` makes it. Asked for help, its own is printed, and that of the other parser follows.
        args: those of the command line.

    Raises:
        SystemExit: 2, an own option is wrong.
    """
    if any(arg in ("-h", "--help") for arg in args):
        parser.print_help()
        print()
    try:
        return parser.parse_known_args(dashes_to_underscores(args))
    except argparse.ArgumentError as error:
        refuse_arguments(parser.prog, error)
        raise


def parsing_errors() -> tuple[type[Exception], ...]:
    """The exceptions by which a parser made with ``exit_on_error=False`` refuses its arguments."""
    import jsonargparse

    return (jsonargparse.ArgumentError,)


def refuse_arguments(prog: str, error: Exception) -> None:
    """End the process with exit code 2 and the parser's own words, in one sentence."""
    _refuse(f"{prog}: {_one_sentence(error)}")


def _call_typed(prog: str, function: Callable[..., Any], args: list[str]) -> Any:
    import jsonargparse

    parser = jsonargparse.ArgumentParser(prog=prog, description=_first_paragraph(function), exit_on_error=False, allow_abbrev=False)
    parser.add_function_arguments(function, as_group=False, fail_untyped=True)
    types = get_type_hints(function)
    for action in parser._actions:
        if types.get(action.dest) is bool:
            # A switch may stand alone: --strict is --strict true.
            action.nargs, action.const = "?", True
    lists = {name for name, annotation in types.items() if list in (get_origin(annotation), *map(get_origin, get_args(annotation)))}
    try:
        config = parser.parse_args(_join_lists(dashes_to_underscores(args), lists))
    except parsing_errors() as error:
        refuse_arguments(prog, error)
    return function(**parser.instantiate(config).as_dict())


def _join_lists(args: list[str], lists: set[str]) -> list[str]:
    """Let a list be given as words, ``--input a b``, which jsonargparse takes as one JSON list, ``--input [a, b]``."""
    joined: list[str] = []
    words: list[str] | None = None
    for arg in [*args, "--"]:
        if arg.startswith("--"):
            if words is not None:
                joined.append(words[0] if len(words) == 1 and words[0].startswith("[") else json.dumps(words))
            words = [] if arg[2:] in lists else None
            joined.append(arg)
        elif words is not None:
            words.append(arg)
        else:
            joined.append(arg)
    return joined[:-1]


def _overview(prog: str, table: Commands) -> str:
    width = max(len(name) for name in table)
    lines = [f"usage: {prog} COMMAND [options]", "", "commands:"]
    for name, entry in table.items():
        summary = entry.summary if isinstance(entry, Command) else " | ".join(entry)
        lines.append(f"  {name:<{width}}  {summary}")
    return "\n".join([*lines, "", f"'{prog} COMMAND --help' explains every option."])


def _first_paragraph(function: Callable[..., Any]) -> str:
    return " ".join((function.__doc__ or "").strip().split("\n\n")[0].split())


def _one_sentence(error: Exception) -> str:
    lines = [line.strip(" \t-") for line in str(error).splitlines() if line.strip(" \t-")]
    # jsonargparse writes types as Python prints them, and options without the dashes by which they are given.
    sentence = re.sub(r"a <class '(\w+)'>", r"\1", " ".join(lines)).replace("a typing.Literal", "one of ")
    sentence = re.sub(r"^the following arguments are required: (.*)", lambda found: _required(found[1]), sentence)
    sentence = re.sub(r'^Parser key "([\w.]+)":', r"--\1:", sentence)
    # A file that is no config is quoted whole.
    return sentence if len(sentence) <= LONGEST_SENTENCE else f"{sentence[:LONGEST_SENTENCE]} ..."


def _required(names: str) -> str:
    return f"expected {', '.join('--' + name for name in names.split(', '))} too; --help explains every option."


def _refuse(text: str) -> None:
    print(f"error: {text}", file=sys.stderr)
    raise SystemExit(2)
