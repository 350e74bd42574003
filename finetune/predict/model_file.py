"""Open an exported model and ask it about waveforms."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common.described import build
from common.errors import UserError
from finetune.bundle.contents import MODEL, read_bundle
from finetune.export.metadata import FORMAT, METADATA_NAME
from finetune.tasks.base import Task


@dataclass(frozen=True)
class ModelFile:
    """An exported model.

    Attributes:
        module: TorchScript, see `finetune.export.exported_model.ExportedModel`.
        metadata: content of its model.json.
        task: rebuilt from the metadata; decides by its label rule.
    """

    module: torch.jit.ScriptModule
    metadata: dict[str, Any]
    task: Task

    @property
    def labels(self) -> list[str]:
        return self.metadata["labels"]

    @property
    def thresholds(self) -> list[float]:
        return self.metadata["thresholds"]

    @torch.inference_mode()
    def predict(self, waveform: np.ndarray, sample_rate: int, metadata: np.ndarray | None = None) -> tuple[np.ndarray, int]:
        """Answer for one mono waveform, float32 [T], and its raw metadata, float32 [M]: probabilities [L] and the quality flags' bits."""
        known = [] if metadata is None else [torch.full((1,), len(waveform)), torch.from_numpy(metadata).unsqueeze(0)]
        probabilities, flags = self.module(torch.from_numpy(waveform).unsqueeze(0), sample_rate, *known)
        return probabilities[0].cpu().numpy(), int(flags[0])

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        """Decisions int8 [L] for ``probabilities`` [L]."""
        return self.task.decode(probabilities[np.newaxis], self.thresholds)[0]

    def undecided(self, probabilities: np.ndarray) -> np.ndarray:
        """Which labels are left to a person for ``probabilities`` [L], bool [L]; of classes with a limit all or none."""
        limit, bands = self.metadata.get("abstain_limit"), self.metadata.get("abstain") or {}
        if limit is not None:
            return np.full(len(probabilities), float(probabilities.max()) < limit)
        low_high = [bands.get(label) or (0.0, 0.0) for label in self.labels]
        return np.array([low <= value < high for value, (low, high) in zip(probabilities.tolist(), low_high, strict=True)])


def open_model(path: str | Path) -> ModelFile:
    """Open a file that ``finetune export`` wrote, or the one of a bundle, whose hashes are checked first.

    Raises:
        UserError: the file is missing or is no such model, or a file of the bundle is not what it was.
    """
    path = Path(path)
    if path.is_dir():
        read_bundle(path).check_files()
        path = path / MODEL
    if not path.is_file():
        raise UserError(f"No model at {path}: expected a file that 'python -m finetune export' wrote.")
    extra = {METADATA_NAME: ""}
    try:
        module = torch.jit.load(str(path), map_location="cpu", _extra_files=extra)
        metadata = json.loads(extra[METADATA_NAME])
    except (RuntimeError, ValueError) as error:
        raise UserError(f"{path} is not an exported model: expected a file that 'python -m finetune export' wrote.") from error
    if metadata.get("format") != FORMAT:
        raise UserError(f"{path} has format {metadata.get('format')!r}, expected {FORMAT!r}: export it again with this version.")
    return ModelFile(module.eval(), metadata, build(metadata["task"], Task))  # type: ignore[type-abstract]
