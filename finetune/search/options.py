"""The options of ``python -m finetune search``; all others are those of ``finetune fit``."""

import argparse
from collections.abc import Sequence

from common.cli import own_arguments, own_parser, refuse_arguments
from common.errors import UserError

PROG = "python -m finetune search"


def search_options(args: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The search's own options, checked, and the arguments of ``finetune fit``.

    Raises:
        UserError: a value is outside its range.
        SystemExit: 2, an option is unknown or of the wrong type.
    """
    own, rest = own_arguments(search_parser(), args)
    if any(arg.partition("=")[0] == "--data.fold" for arg in rest):
        raise UserError(f"--data.fold is what {PROG} sets for each fold: choose one by --fold.")
    if own.space is None and not any(arg in ("-h", "--help") or arg.startswith("--print_config") for arg in args):
        refuse_arguments(PROG, ValueError("expected --space too: the YAML file that names what is searched; --help explains every option."))
    if own.inner_runs is None:
        own.inner_runs = own.inner_folds
    for name, value, low, high in (
        ("trials", own.trials, 1, None),
        ("inner-folds", own.inner_folds, 2, None),
        ("inner-runs", own.inner_runs, 1, own.inner_folds),
        ("prune-after", own.prune_after, 0, None),
    ):
        if value is not None and (value < low or (high is not None and value > high)):
            raise UserError(f"--{name} is {value}, expected at least {low}{'' if high is None else f' and at most {high}'}.")
    return own, rest


def search_parser() -> argparse.ArgumentParser:
    """The parser of the search's own options."""
    parser = own_parser(
        PROG,
        "Search settings for every fold of --data.folds among the patients that the fold does not hold out. Resumes.",
        "Every option of 'python -m finetune fit' (below) is taken too; --data.fold and --model.encoder_file are set per fold.",
    )
    add = parser.add_argument
    add("--space", metavar="FILE", help="YAML file: key of the config -> {choices: [...]} or {low: , high: , step: , log: }")
    add("--trials", type=int, help="trials per fold, of all workers together (default: 20; with a grid: all of it)")
    add("--fold", type=int, help="search for this fold only (default: for every fold)")
    add("--sampler", choices=("tpe", "random", "grid"), default="tpe", help="proposes settings (default: tpe)")
    add("--pruning", choices=("median", "none"), default="median", help="ends bad trials after an epoch (default: median)")
    add("--prune_after", type=int, default=3, metavar="EPOCHS", help="no trial ends before (default: 3)")
    add("--inner_folds", type=int, default=3, metavar="M", help="into which the remaining patients are divided (default: 3)")
    add("--inner_runs", type=int, metavar="R", help="of them are trained and judged in a trial (default: all)")
    add("--metric", default="macro_auroc", help="that is maximised, mean over the inner folds (default: macro_auroc)")
    add("--encoder", metavar="FILE|FOLDER", help="as in crossval (default: none)")
    add("--transductive", action="store_true", help="accept an encoder whose pretraining saw held-out clips (default: refused)")
    add("--storage", metavar="URL", help="database of the trials, which several workers may share (default: SQLite, study.db in --out)")
    add("--study", metavar="NAME", help="its name in the database (default: the name of --out)")
    return parser
