"""The command line: figures on the last line, one sentence for a mistake, dashes and lists as people type them."""

import json
from pathlib import Path

import pytest

from common import cli
from common.cli import Command, call, run
from common.errors import UserError

COMMANDS: cli.Commands = {
    "add": Command(f"{__name__}:add", "add numbers"),
    "fail": Command(f"{__name__}:fail", "fail on the data"),
    "deep": {"raw": Command(f"{__name__}:raw", "takes its arguments as they are", parses_itself=True)},
}


def add(numbers: list[int], start_value: int = 0, double: bool = False, notes: list[Path] | None = None) -> dict[str, int]:
    """Add numbers.

    Args:
        numbers: what to add.
        start_value: where to start.
        double: add them twice.
        notes: files that explain them.
    """
    return {"sum": start_value + sum(numbers) * (2 if double else 1), **({} if notes is None else {"notes": len(notes)})}


def fail() -> None:
    """Fail."""
    raise UserError("No table at x.csv: check the path.")


def raw(args: list[str]) -> list[str]:
    return args


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--numbers", "1", "2", "3"], 6),
        (["--numbers", "[1, 2]"], 3),
        (["--numbers", "4", "--start-value", "10"], 14),
        (["--start_value=1", "--numbers", "4", "--double"], 9),
    ],
)
def test_options_are_taken_as_people_type_them(args: list[str], expected: int) -> None:
    assert call("prog", COMMANDS, ["add", *args]) == {"sum": expected}


def test_a_list_that_may_be_left_out_is_given_as_words_too() -> None:
    assert call("prog", COMMANDS, ["add", "--notes", "a.txt", "b.txt", "--numbers", "1"]) == {"sum": 1, "notes": 2}


def test_figures_are_one_json_object_in_the_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    run("prog", COMMANDS, ["add", "--numbers", "1"])
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"sum": 1}


@pytest.mark.parametrize(
    ("args", "code", "named"),
    [
        (["add", "--numbers", "1", "--wrong", "2"], 2, "--wrong"),
        (["add", "--numbers", "one"], 2, "one"),
        (["add", "--numb", "1"], 2, "--numb"),
        (["add"], 2, "expected --numbers too"),
        (["add", "--numbers", "1", "--start-value", "x"], 2, "--start_value: Expected int. Got value: x"),
        (["bogus"], 2, "bogus"),
        (["fail"], 1, "x.csv"),
    ],
)
def test_a_mistake_is_one_sentence_on_standard_error(args: list[str], code: int, named: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run("prog", COMMANDS, args)
    printed = capsys.readouterr()
    assert stopped.value.code == code
    assert printed.out == ""
    assert printed.err.startswith("error: ") and named in printed.err
    assert len(printed.err.strip().splitlines()) == 1


def test_a_command_that_parses_itself_gets_its_words_untouched() -> None:
    assert call("prog", COMMANDS, ["deep", "raw", "--a-b", "1"]) == ["--a-b", "1"]


@pytest.mark.parametrize("args", [[], ["deep"]])
def test_without_a_command_the_overview_is_no_result(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run("prog", COMMANDS, args)
    printed = capsys.readouterr()
    assert (stopped.value.code, printed.out) == (2, "") and "COMMAND --help" in printed.err


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run("prog", COMMANDS, ["--help"])
    assert stopped.value.code == 0
    assert "add numbers" in capsys.readouterr().out
