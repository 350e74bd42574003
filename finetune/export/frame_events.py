"""Which events a run's networks tell frame by frame, and from which probability on a frame holds one."""

from dataclasses import asdict, dataclass
from typing import Any

from common.encoders.layer_frames import LayerFrames
from finetune.classifier import Classifier
from finetune.frame_head import FramesToLabels
from finetune.run_folder import RunFolder


@dataclass(frozen=True)
class FrameEvents:
    """What a file says of its frames.

    Attributes:
        labels: of the E events.
        frame_s: from one frame to the next, s.
        thresholds: one per label.
    """

    labels: list[str]
    frame_s: float
    thresholds: list[float]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def frame_events(run: RunFolder, classifier: Classifier) -> FrameEvents | None:
    """Those of a run; None where its frames were taught no events, or no threshold could be chosen.

    Args:
        run: whose folds chose thresholds; the mean of all is taken.
        classifier: of one of its folds.
    """
    thresholds = run.frame_thresholds()
    if thresholds is None or not isinstance(classifier.head, FramesToLabels) or not isinstance(classifier.encoder, LayerFrames):
        return None
    labels = list(classifier.head.events)
    return FrameEvents(labels, classifier.encoder.frame_s(classifier.front_end), [thresholds[label] for label in labels])
