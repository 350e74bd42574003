"""The exported model at its own rate only, as a graph without a loop: what ``torch.export`` can record. One branch on values is in
`quality_flags`.

It calls the functions of `ExportedModel`; only the windows are taken all at once.
"""

import torch
from torch import Tensor, nn

from common.audio.quality import quality_flags
from common.windows import covering_windows, cut_windows
from finetune.export.exported_ensemble import ExportedEnsemble
from finetune.export.exported_model import ExportedModel, usable


class ExportableModel(nn.Module):
    """Waveforms at the model's rate to probabilities [B, L] and flags [B].

    Args:
        model: eager, in evaluation mode, and of one rate.
    """

    def __init__(self, model: ExportedModel | ExportedEnsemble) -> None:
        super().__init__()
        self.model = model
        self.members: list[ExportedModel] = [model] if isinstance(model, ExportedModel) else list(model.members)  # type: ignore[arg-type]

    def forward(self, waveform: Tensor, lengths: Tensor, metadata: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As `ExportedModel.forward` for ``sample_rate``; lengths int64 [B] must be given, and metadata where the model takes them."""
        lengths = lengths.clamp(min=0, max=waveform.shape[1])
        flags = quality_flags(waveform, lengths, self.model.sample_rate)
        waveform = usable(waveform, lengths, flags)
        lengths = lengths.clamp(min=1)
        return self.model.joined([_whole_clips(member, waveform, lengths, metadata) for member in self.members]), flags


def _whole_clips(model: ExportedModel, waveform: Tensor, lengths: Tensor, metadata: Tensor | None) -> Tensor:
    """As `ExportedModel.pooled`, with all windows in memory at once."""
    clip, start = covering_windows(lengths, model.window, model.hop, waveform.shape[1])
    # What the exporter cannot see: every clip has a window.
    torch._check(clip.shape[0] > 0)
    windows = cut_windows(waveform, lengths, clip, start, model.window, model.short_clips)
    of_windows = metadata[clip] if metadata is not None else windows.new_empty(0)
    # No network's answers meet another's before they are of whole clips: so each can be cut out of the graph.
    return torch.stack(model.clips(model.networks_answers(windows, of_windows), clip, waveform.shape[0]))
