"""Write the TorchScript files of a run: the average of its folds, and the single folds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from common.progress import track
from finetune.export.ensemble import ExportedMembers
from finetune.export.file import save
from finetune.export.folds import ExportedFolds

Exported = ExportedFolds | ExportedMembers


def write_files(
    exported: Exported, files: Mapping[Path, list[int]], more: Mapping[str, Any]
) -> tuple[torch.jit.ScriptModule, dict[str, Any], float]:
    """Write one file for each entry of ``files``, path -> the folds that it averages; ``more`` goes into the model.json of each.

    Returns:
        The first file, its description, and the largest difference to the eager model that was seen in any.
    """
    first, parity = None, 0.0
    for path, folds in track(files.items(), "Exporting", total=len(files)):
        file, description = exported.assemble(folds)
        description |= more
        save(path, file, description)
        first, parity = first or (file, description), max(parity, description["parity"])
    assert first is not None
    return *first, parity
