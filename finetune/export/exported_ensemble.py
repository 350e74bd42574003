"""What an exported ensemble computes: several wrappers, each with its rate, windows and networks, and what joins their answers."""

# TorchScript has no casts, and takes a comment with "type:" for one of its own.
# mypy: disable-error-code="operator"

import torch
from torch import Tensor, nn

from finetune.export.exported_model import ExportedModel


class ExportedEnsemble(nn.Module):
    """Waveforms at any rate and length to probabilities: per fold the members' are combined and calibrated, then the folds' averaged.

    Args:
        members: one wrapper per run, without calibrators, each with the networks of the same folds.
        on_logits: combine logits, not probabilities; see `finetune.ensemble.combine.Combination`, which this computes.
        weights: [M, L].
        offset: [L].
        one_of: divide what comes of logits by its sum over the labels.
        thresholds: one per label; the file carries them, it does not apply them.
        calibrators: one module per fold, combined probabilities [B, L] -> calibrated ones; none leaves them.
        metadata_columns: names of the M metadata that all members take, or none of them.
    """

    labels: list[str]
    thresholds: list[float]
    metadata_columns: list[str]
    weights: Tensor
    offset: Tensor

    def __init__(
        self,
        members: list[ExportedModel],
        on_logits: bool,
        weights: Tensor,
        offset: Tensor,
        one_of: bool,
        thresholds: list[float],
        calibrators: list[nn.Module] | None = None,
        metadata_columns: list[str] | None = None,
    ) -> None:
        super().__init__()
        self.metadata_columns = metadata_columns or []
        self.members = nn.ModuleList(members)
        self.calibrators = nn.ModuleList(calibrators or [nn.Identity() for _ in members[0].networks])
        self.on_logits = on_logits
        self.register_buffer("weights", weights.to(torch.float64))
        self.register_buffer("offset", offset.to(torch.float64))
        self.one_of = one_of
        self.labels = members[0].labels
        self.thresholds = thresholds
        # Of the first member: by what the file is checked, and what its metadata says.
        self.sample_rate = members[0].sample_rate
        self.window = members[0].window

    def forward(
        self, waveform: Tensor, sample_rate: int, lengths: Tensor | None = None, metadata: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `ExportedModel.forward`."""
        answers: list[Tensor] = []
        flags = torch.zeros([0], dtype=torch.int64)
        for member in self.members:
            answer, flags = member.of_networks(waveform, sample_rate, lengths, metadata)
            answers.append(answer)
        return self.joined(answers), flags

    def joined(self, answers: list[Tensor]) -> Tensor:
        """Map the probabilities of each member's networks, M tensors [K, B, L], to [B, L]."""
        joined = self.combined(torch.stack(answers).to(torch.float64)).to(torch.float32)
        total = torch.zeros_like(joined[0])
        for number, calibrator in enumerate(self.calibrators):
            total = total + calibrator(joined[number])
        return total / joined.shape[0]

    def combined(self, probabilities: Tensor) -> Tensor:
        """Map the members' probabilities [M, K, B, L] to [K, B, L]."""
        weights = self.weights.unsqueeze(1).unsqueeze(1)
        if not self.on_logits:
            return (weights * probabilities).sum(dim=0).clamp(0.0, 1.0)
        joined = torch.sigmoid((weights * torch.logit(probabilities, 1e-6)).sum(dim=0) + self.offset)
        return joined / joined.sum(dim=-1, keepdim=True) if self.one_of else joined
