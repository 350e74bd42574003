"""A head that hears when a sound was: small recurrent networks over the frames of an encoder's map, with attention over what they say.

A clip's label says that there is a wheeze somewhere in 10 s; an annotated event says in which breath. Frame by frame the network can learn
the one, over the whole clip the other (strong and weak labels: Kong et al. 2020, "Sound Event Detection of Weakly Labelled Data with
CNN-Transformer and Automatic Threshold Optimization", section II); see `finetune.baseline.frame_model`.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from common.described import Described
from common.encoders.base import Encoder

# Of a feature that never changes.
LEAST_DEVIATION = 1e-3
# Windows measured at a time.
SOME = 256


class FrameHead(Described):
    """Settings of a head over frames.

    Args:
        events: labels of events that each frame is told; one or more.
        units: of a GRU, both directions together, even.
        dropout: share of the map's features that is dropped for a whole clip, and of the units.
        networks: whose logits are averaged.

    Raises:
        ValueError: a setting out of range.
    """

    def __init__(self, events: tuple[str, ...], units: int = 64, dropout: float = 0.3, networks: int = 1) -> None:
        if not events or units < 2 or units % 2 or not 0 <= dropout < 1 or networks < 1:
            raise ValueError(
                f"events is {list(events)}, units {units}, dropout {dropout:g} and networks {networks}, expected one event or more, an "
                "even number, 0 to 1, and at least 1"
            )
        self.events, self.units, self.dropout, self.networks = tuple(events), units, dropout, networks

    def make(self, num_features: int, num_labels: int) -> "FramesToLabels":
        """An untrained head; its first weights are drawn by torch's generator."""
        return FramesToLabels(num_features, num_labels, self)


class FramesToLabels(nn.Module):
    """Feature maps [B, D, N] to logits [B, L], the mean of those of several networks; features are standardised first.

    Args:
        num_features: D.
        num_labels: L.
        settings: of the networks.

    Attributes:
        events: labels of the E events that each frame is told.
        mean, deviation: of the features, float32 [D]; 0 and 1 until `measure` sets them.
        networks: `AttentiveGru` s, from standardised frames [B, N, D] to logits of events [B, N, E] and of labels [B, L].
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, num_features: int, num_labels: int, settings: FrameHead) -> None:
        super().__init__()
        self.events = settings.events
        self.register_buffer("mean", torch.zeros(num_features))
        self.register_buffer("deviation", torch.ones(num_features))
        make = (AttentiveGru(num_features, num_labels, settings) for _ in range(settings.networks))
        self.networks = nn.ModuleList(make)

    @staticmethod
    def embedding(encoder: Encoder, spectrogram: Tensor) -> Tensor:
        """What the head takes of ``spectrogram`` [B, 1, F, N]: the feature map [B, D, N']."""
        return encoder.feature_map(spectrogram)

    @torch.no_grad()
    def measure(self, feature_maps: Iterable[Tensor]) -> None:
        """Set mean and deviation to those of training windows' feature maps, [B, D, N] each."""
        count, total, squares = 0, torch.zeros(len(self.mean), dtype=torch.float64), torch.zeros(len(self.mean), dtype=torch.float64)
        for some in feature_maps:
            # Not every accelerator has double precision.
            values = some.cpu().double()
            count += values.shape[0] * values.shape[2]
            total += values.sum(dim=(0, 2))
            squares += values.square().sum(dim=(0, 2))
        self.mean.copy_(total / count)
        self.deviation.copy_((squares / count - (total / count).square()).clamp(min=LEAST_DEVIATION**2).sqrt())

    def standardised(self, feature_map: Tensor) -> Tensor:
        """[B, D, N] to frames [B, N, D]."""
        return (feature_map.transpose(1, 2) - self.mean) / self.deviation

    def forward(self, feature_map: Tensor) -> Tensor:
        frames = self.standardised(feature_map)
        return torch.stack([network(frames)[1] for network in self.networks]).mean(dim=0)

    def event_probabilities(self, feature_map: Tensor) -> Tensor:
        """Whether each frame holds each event: [B, D, N] to [B, N, E], 0 to 1, from the mean of the networks' logits."""
        frames = self.standardised(feature_map)
        return torch.stack([network(frames)[0] for network in self.networks]).mean(dim=0).sigmoid()


class AttentiveGru(nn.Module):
    """A GRU over frames [B, N, D], whose answers frame by frame [B, N, E] and attention over them tell the clip's labels [B, L].

    A clip is told by four attentions over its frames (Ilse et al. 2018, "Attention-based Deep Multiple Instance Learning", eq. 8, without
    the gate), their mean and maximum, and the largest and the log mean exponential of the events' logits: one wheeze makes a clip with a
    wheeze.

    Args:
        num_features: D.
        num_labels: L.
        settings: of the head.
    """

    ATTENTIONS = 4

    def __init__(self, num_features: int, num_labels: int, settings: FrameHead) -> None:
        super().__init__()
        units, events = settings.units, len(settings.events)
        self.dropout = nn.Dropout(settings.dropout)
        self.narrow = nn.Sequential(nn.Linear(num_features, units), nn.LayerNorm(units), nn.ReLU(), nn.Dropout(settings.dropout))
        self.gru = nn.GRU(units, units // 2, batch_first=True, bidirectional=True)
        self.events = nn.Linear(units, events)
        self.attention = nn.Linear(units, self.ATTENTIONS)
        self.labels = nn.Linear((self.ATTENTIONS + 2) * units + 2 * events, num_labels)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        narrow = self.narrow(frames * self.dropout(torch.ones_like(frames[:, :1])))
        hidden = self.dropout(self.gru(narrow)[0])
        events = self.events(hidden)
        weights = self.attention(hidden).softmax(dim=1)
        attended = (weights.transpose(1, 2) @ hidden).flatten(1)
        log_mean_exp = events.logsumexp(dim=1) - math.log(events.shape[1])
        parts = [attended, hidden.mean(dim=1), hidden.amax(dim=1), events.amax(dim=1), log_mean_exp]
        return events, self.labels(torch.cat(parts, dim=1))
