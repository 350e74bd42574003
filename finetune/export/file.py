"""Script, check and write one exported file."""

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from common.errors import UserError
from common.files import atomic_path
from finetune.export.exported_ensemble import ExportedEnsemble
from finetune.export.exported_model import ExportedModel
from finetune.export.metadata import CARD_NAME, METADATA_NAME, model_card
from finetune.export.networks import check_parity


def script(model: nn.Module) -> torch.jit.ScriptModule:
    """Compile ``model``, whose networks are traced, with everything it calls."""
    with warnings.catch_warnings():
        # torch 2.11 says that TorchScript is deprecated; it is what a service with torch alone can load.
        warnings.simplefilter("ignore")
        return torch.jit.script(model)


def largest_difference(
    file: torch.jit.ScriptModule, eager: ExportedModel | ExportedEnsemble, metadata: torch.Tensor | None = None
) -> float:
    """Largest difference of a probability between the compiled and the eager model, those of frames included.

    Over mixed batches: shorter and longer than a window, at the model's rate and at others, with lengths and without.

    Args:
        file: compiled.
        eager: what it was compiled from.
        metadata: raw rows [3, M] to give, and to leave out; None where the model takes none.

    Raises:
        UserError: it is beyond 1e-5, or the quality flags differ.
    """
    generator = torch.Generator().manual_seed(0)
    difference = 0.0
    with torch.inference_mode():
        for factor, rate in ((0.3, eager.sample_rate), (2.4, eager.sample_rate), (1.0, 44100), (1.3, 8000), (0.7, 12000)):
            samples = max(2, round(factor * eager.window * rate / eager.sample_rate))
            waveform = 0.1 * torch.randn(3, samples, generator=generator)
            for lengths, known in ((None, metadata), (torch.tensor([samples, samples // 2, 1]), metadata), (None, None)):
                given = (waveform, rate, lengths) if metadata is None else (waveform, rate, lengths, known)
                expected, expected_flags = eager(*given)
                answered, flags = file(*given)
                if not torch.equal(flags, expected_flags):
                    raise UserError("The compiled file's quality flags differ from the model's: it is not written.")
                difference = max(difference, float((answered - expected).abs().max()))
            if isinstance(eager, ExportedModel) and eager.frame_labels and factor <= 1:
                framed, expected = file.frames(waveform, rate)[0], eager.frames(waveform, rate)[0]
                difference = max(difference, float((framed - expected).abs().max()))
    check_parity(difference, "The compiled file")
    return difference


def save(path: Path, file: torch.jit.ScriptModule, description: dict[str, Any]) -> None:
    """Write the file with its ``model.json`` and model card, whole or not at all."""
    extra = {METADATA_NAME: json.dumps(description, indent=2, allow_nan=False), CARD_NAME: model_card(description)}
    with atomic_path(path) as temporary:
        file.save(str(temporary), _extra_files=extra)
