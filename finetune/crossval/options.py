"""The options of a run of all folds, which a single fold does not have."""

import argparse
from collections.abc import Sequence

from common.cli import own_arguments, own_parser
from common.errors import UserError


def own_options(args: Sequence[str], prog: str) -> tuple[argparse.Namespace, list[str]]:
    """What belongs to a run of all folds and not to one, and the other arguments."""
    parser = own_parser(
        prog,
        "Train every fold of --data.folds and join their held-out predictions. Resumes at the first unfinished fold.",
        "The options below are taken too; the number of the fold and its encoder file are set per fold.",
    )
    parser.add_argument(
        "--encoder", metavar="FILE|FOLDER", help="encoder file, or folder with fold-K/encoder.pt, to start from (default: none)"
    )
    parser.add_argument(
        "--search",
        metavar="FOLDER",
        help="folder of 'python -m finetune search': each fold takes the settings that it chose (default: none)",
    )
    parser.add_argument(
        "--transductive",
        action="store_true",
        help="accept an encoder whose pretraining saw held-out clips; the report says so (default: refused)",
    )
    parser.add_argument(
        "--allow_leaks",
        metavar="FILE",
        help="CSV file with columns code, item, other, reason: leaks that the split guard lets through; the report names them "
        "(default: none)",
    )
    parser.add_argument(
        "--skip_near_duplicates",
        action="store_true",
        help="let the split guard compare samples only, not look for the same sound in another form",
    )
    own, rest = own_arguments(parser, args)
    if any(arg.partition("=")[0] == "--data.fold" for arg in rest):
        raise UserError(f"--data.fold is what {prog} sets for each fold: leave it out, or use 'python -m finetune fit'.")
    return own, rest
