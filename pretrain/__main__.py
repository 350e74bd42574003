"""``python -m pretrain``: unlabelled recordings teach an encoder what lung sounds are like."""

from collections.abc import Sequence
from typing import Any

from common import cli
from common.cli import Command

COMMANDS: cli.Commands = {
    "fit": Command("pretrain.fit:fit", "pretrain one encoder (resumes an unfinished run)", parses_itself=True),
    "stream": Command("pretrain.stream:stream", "the same from shards, for more audio than fits one disk", parses_itself=True),
    "folds": Command("pretrain.folds:folds", "pretrain one encoder per fold, without the patients it holds out", parses_itself=True),
    "report": Command("pretrain.report.command:report", "show what a run learned: curves, views, a map of its embeddings"),
}


def main(args: Sequence[str] | None = None) -> Any:
    return cli.run("python -m pretrain", COMMANDS, args)


if __name__ == "__main__":
    main()
