"""A small recurrent network over the frames of a frozen encoder's map, taught by annotated events and by the clip's labels at once.

A clip's label says that there is a wheeze somewhere in 10 s; an annotated event says in which breath. Frame by frame the network learns
the one, over the whole clip the other (strong and weak labels: Kong et al. 2020, "Sound Event Detection of Weakly Labelled Data with
CNN-Transformer and Automatic Threshold Optimization", section II).
"""

import torch
from torch import Tensor, nn

from finetune.baseline.classifiers import BaselineClassifier


class FrameNetwork(BaselineClassifier):
    """A GRU over the frames of a clip, whose answers frame by frame and attention over them tell the clip's labels.

    Args:
        events: labels of the annotated events that frames are taught by, columns of ``--data.events``.
        event_weight: of the events' loss beside the clips', at least 0.
        held: share of frame or event, the shorter, that they have in common where the frame holds the event, see
            `finetune.baseline.annotated_events.frame_targets`.
        touched: share below which it does not hold it, above 0 and up to ``held``.
        units: of the GRU, both directions together, even.
        dropout: share of the map's features that is dropped for a whole clip, and of the units.
        networks: that are trained from seeds of their own and averaged.
        epochs: over the training clips.
        batch_size: clips per step.
        lr: highest learning rate of one cycle of AdamW (Smith and Topin 2018).
        weight_decay: of AdamW.

    Raises:
        ValueError: a setting out of range.
    """

    def __init__(
        self,
        events: tuple[str, ...] = ("wheeze", "crackle"),
        event_weight: float = 1.0,
        held: float = 0.5,
        touched: float = 0.1,
        units: int = 64,
        dropout: float = 0.3,
        networks: int = 1,
        epochs: int = 15,
        batch_size: int = 64,
        lr: float = 3e-3,
        weight_decay: float = 0.05,
    ) -> None:
        if not events or event_weight < 0 or not 0 < touched <= held <= 1:
            raise ValueError(
                f"events is {list(events)}, event_weight {event_weight:g}, held {held:g} and touched {touched:g}, expected one or more, at "
                "least 0, and 0 < touched <= held <= 1"
            )
        if units < 2 or units % 2 or not 0 <= dropout < 1 or min(networks, epochs, batch_size) < 1 or not lr > 0 or weight_decay < 0:
            raise ValueError(
                f"units is {units}, dropout {dropout:g}, networks {networks}, epochs {epochs}, batch_size {batch_size}, lr {lr:g} and "
                f"weight_decay {weight_decay:g}, expected an even number, 0 to 1, at least 1 each, above 0 and at least 0"
            )
        self.events, self.event_weight, self.held, self.touched = tuple(events), event_weight, held, touched
        self.units, self.dropout, self.networks = units, dropout, networks
        self.epochs, self.batch_size, self.lr, self.weight_decay = epochs, batch_size, lr, weight_decay

    def make_network(self, num_features: int, num_labels: int) -> "FramesToLabels":
        """An untrained network; its first weights are drawn by torch's generator."""
        return FramesToLabels(num_features, self.units, len(self.events), num_labels, self.dropout)


class FramesToLabels(nn.Module):
    """Frames [B, N, D] to logits of events in them [B, N, E] and of the clip's labels [B, L].

    A clip is told by four attentions over its frames (Ilse et al. 2018, "Attention-based Deep Multiple Instance Learning", eq. 8, without
    the gate), their mean and maximum, and the largest and the log mean exponential of the events' logits: one wheeze makes a clip with a
    wheeze. What a clip becomes does not depend on how far the batch is padded.

    Args:
        num_features: D.
        units: of the GRU, both directions together.
        num_events: E.
        num_labels: L.
        dropout: share of features, of a whole clip, and of units.
    """

    ATTENTIONS = 4

    def __init__(self, num_features: int, units: int, num_events: int, num_labels: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.narrow = nn.Sequential(nn.Linear(num_features, units), nn.LayerNorm(units), nn.ReLU(), nn.Dropout(dropout))
        self.forwards = nn.GRU(units, units // 2, batch_first=True)
        self.backwards = nn.GRU(units, units // 2, batch_first=True)
        self.events = nn.Linear(units, num_events)
        self.attention = nn.Linear(units, self.ATTENTIONS)
        self.labels = nn.Linear((self.ATTENTIONS + 2) * units + 2 * num_events, num_labels)

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """``frames`` [B, N, D], of which each clip has ``lengths`` (int64 [B]) and then padding."""
        place, length = torch.arange(frames.shape[1]).unsqueeze(0), lengths.unsqueeze(1)
        narrow = self.narrow(frames * self.dropout(torch.ones_like(frames[:, :1])))
        # Turned round within its own length, so that neither direction meets padding before the clip; packing costs many times more.
        turned = (length - 1 - place).clamp(min=0).unsqueeze(2)
        backwards = self.backwards(narrow.gather(1, turned.expand_as(narrow)))[0]
        backwards = backwards.gather(1, turned.expand_as(backwards))
        hidden = self.dropout(torch.cat([self.forwards(narrow)[0], backwards], dim=2))
        events = self.events(hidden)
        padding = place.ge(length).unsqueeze(2)
        weights = self.attention(hidden).masked_fill(padding, -torch.inf).softmax(dim=1)
        attended = torch.einsum("bna,bnu->bau", weights, hidden).flatten(1)
        mean = hidden.masked_fill(padding, 0).sum(dim=1) / length
        of_clip = events.masked_fill(padding, -torch.inf)
        log_mean_exp = of_clip.logsumexp(dim=1) - length.log()
        parts = [attended, mean, hidden.masked_fill(padding, -torch.inf).amax(dim=1), of_clip.amax(dim=1), log_mean_exp]
        return events, self.labels(torch.cat(parts, dim=1))
