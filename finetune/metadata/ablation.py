"""``python -m finetune ablate-metadata``: what do metadata add to the audio? Three cross-validations, compared patient by patient.

They differ in nothing but what the head is given: audio, metadata, or both. Folds, seed and every setting are the same.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from common.cli import own_arguments, own_parser
from common.errors import UserError
from common.progress import say
from finetune.compare.command import compare
from finetune.crossval.command import crossval
from finetune.crossval.options import own_options
from finetune.fit import STAGE

PROG = "python -m finetune ablate-metadata"
# The first is what the others are compared with.
STREAMS = {
    "audio": ["--model.metadata=null"],
    "metadata": ["--model.metadata.init_args.audio=false"],
    "both": ["--model.metadata.init_args.audio=true"],
}


def ablate_metadata(args: Sequence[str]) -> dict[str, Any]:
    """Cross-validate audio, metadata and both, and compare; ``args`` are those of ``crossval``.

    Each is a run in ``--out``, and resumes as runs do; the comparison lies beside them.

    Returns:
        ``macro_auroc`` of each, ``differences`` from audio alone (with interval and p, see `finetune.compare.command.compare`), and
        the paths ``runs`` and ``comparison``.

    Raises:
        UserError: the configuration has no metadata, or as `finetune.crossval.command.crossval` and `finetune.compare.command.compare`.
        SystemExit: the arguments are wrong (2), or only help was asked for (0).
    """
    options, rest = own_arguments(_parser(), args)
    _, of_fit = own_options(rest, PROG)
    config = replace(STAGE, prog=PROG).parse(of_fit)
    if config["model"]["metadata"] is None:
        raise UserError("The configuration has no model.metadata, so there is nothing to leave out: name columns, see docs/metadata.md.")
    folders = {name: options.out / name for name in STREAMS}
    scores = {}
    for name, override in STREAMS.items():
        say(f"Cross-validation by {'audio and metadata' if name == 'both' else f'{name} alone'}")
        tracking = f"--tracking.experiment={options.out.name}-{name}"
        scores[name] = crossval([*rest, *override, tracking, f"--out={folders[name]}"])["macro_auroc"]
    compared = compare([str(folder) for folder in folders.values()], str(options.out / "comparison"))
    return {
        "macro_auroc": scores,
        "differences": compared["differences"],
        "runs": {name: str(folder) for name, folder in folders.items()},
        "comparison": compared["comparison"],
    }


def _parser() -> argparse.ArgumentParser:
    parser = own_parser(
        PROG,
        "Cross-validate a configuration with model.metadata three times: by audio alone, by metadata alone and by both. "
        "Then compare them with audio alone. Started again, it goes on at the first unfinished fold.",
        usage="%(prog)s --out DIR [options of 'python -m finetune crossval']",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/metadata"), metavar="DIR", help="gets audio/, metadata/, both/ and comparison/"
    )
    return parser
