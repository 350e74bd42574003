"""``python -m pretrain stream``: as ``python -m pretrain fit``, with the clips from shards."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pretrain import fit
from pretrain.shard_data import ShardData


def stream(args: Sequence[str]) -> dict[str, Any]:
    """Pretrain an encoder on shards, or go on where an earlier start of the same run was cut off, in the middle of an epoch too.

    Args:
        args: those of the command line, see ``--help``, `SimCLR` and `ShardData`.

    Returns:
        Figures, see `pretrain.fit.finish`; those of the earlier run where it had already finished.
    """
    return STAGE.fit(args)


STAGE = replace(fit.STAGE, prog="python -m pretrain stream", data=ShardData)
