"""The windows of all clips of a run with what is known of each: what a detector learns from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from common.store.waveforms import WaveformStore
from finetune.baseline.annotated_events import window_targets
from finetune.baseline.event_detector import EventDetector
from finetune.baseline.window_features import WindowFeatures


@dataclass(frozen=True)
class Windows:
    """The windows of n clips, one clip after the other.

    Attributes:
        features: float32 [W, D].
        clip: which clip each is of, int64 [W].
        targets: whether it holds each of the detector's labels: 1, 0 or NaN (not known), [W, L].
    """

    features: np.ndarray
    clip: np.ndarray
    targets: np.ndarray


@dataclass(frozen=True)
class Teaching:
    """What a detector learns from.

    Attributes:
        detector: how it learns.
        events: annotated, see `finetune.baseline.annotated_events.read_events`.
    """

    detector: EventDetector
    events: pd.DataFrame

    def windows(self, features: WindowFeatures, found: Sequence[np.ndarray], store: str | Path, clips: pd.DataFrame) -> Windows:
        """Lay the events over the windows of clips.

        Of clips of poor quality, and of recordings that have no event at all, nothing is known: nobody looked for events there.

        Args:
            features: what cut the windows.
            found: the features of each of n clips' windows, [w, D].
            store: folder of the waveform store, which knows how long the clips are.
            clips: their rows of the manifest.
        """
        detector, rate = self.detector, features.front_end.sample_rate
        duration_s = (WaveformStore.open(store, clips, rate).clips(clips).length / rate).tolist()
        of_recording = dict(iter(self.events.groupby("recording", sort=False)))
        targets = []
        for of_clip, length_s, clip in zip(found, duration_s, clips.to_dict("records"), strict=True):
            annotated = of_recording.get(clip["recording"])
            if annotated is None or clip["quality"] == "poor":
                targets.append(np.full((len(of_clip), len(detector.labels)), np.nan))
                continue
            spans = clip["start_s"] + features.spans(len(of_clip), length_s)
            borders = annotated[["start_s", "end_s"]].fillna(np.inf).to_numpy(float)
            labels = annotated[list(detector.labels)].to_numpy(float)
            targets.append(window_targets(spans, borders, labels, detector.held, detector.touched))
        number = np.repeat(np.arange(len(found)), [len(of_clip) for of_clip in found])
        return Windows(np.concatenate(found), number, np.concatenate(targets))
