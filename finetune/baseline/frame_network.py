"""Settings of a network over frames and of how it is trained."""

from finetune.baseline.classifiers import BaselineClassifier
from finetune.frame_head import FrameHead
from finetune.mix.mixup import SpectrogramMixup


class FrameNetwork(BaselineClassifier):
    """A `finetune.frame_head.FrameHead` on the frames of a frozen encoder, taught by annotated events and by the clip's labels at once.

    Args:
        events: labels of the annotated events that frames are taught by, columns of ``--data.events``.
        event_weight: of the events' loss beside the clips', at least 0.
        held: share of frame or event, the shorter, that they have in common where the frame holds the event, see
            `finetune.baseline.annotated_events.frame_targets`.
        touched: share below which it does not hold it, above 0 and up to ``held``.
        units: of the GRU, both directions together, even.
        dropout: share of the map's features that is dropped for a whole clip, and of the units.
        networks: that are trained from seeds of their own; their logits are averaged.
        mixup: each window's frames are mixed with another's, and what both hold with it, by a share from Beta(mixup, mixup), see
            `finetune.mix.mixup.SpectrogramMixup`; 0 mixes none.
        epochs: over the training clips.
        batch_size: windows per step.
        lr: highest learning rate of one cycle of AdamW (Smith and Topin 2018).
        weight_decay: of AdamW.

    Attributes:
        head: the settings of the head.
        mix: of windows; None where none are mixed.

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
        mixup: float = 0.0,
        epochs: int = 15,
        batch_size: int = 64,
        lr: float = 3e-3,
        weight_decay: float = 0.05,
    ) -> None:
        if event_weight < 0 or not 0 < touched <= held <= 1:
            raise ValueError(
                f"event_weight is {event_weight:g}, held {held:g} and touched {touched:g}, expected at least 0 and 0 < touched <= held <= 1"
            )
        if min(epochs, batch_size) < 1 or not lr > 0 or weight_decay < 0 or mixup < 0:
            raise ValueError(
                f"epochs is {epochs}, batch_size {batch_size}, lr {lr:g}, weight_decay {weight_decay:g} and mixup {mixup:g}, expected at "
                "least 1 each, above 0, and at least 0 each"
            )
        self.head = FrameHead(tuple(events), units, dropout, networks)
        self.events, self.event_weight, self.held, self.touched = self.head.events, event_weight, held, touched
        self.mix = SpectrogramMixup(mixup) if mixup else None
        self.epochs, self.batch_size, self.lr, self.weight_decay = epochs, batch_size, lr, weight_decay
