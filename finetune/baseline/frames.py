"""The windows of all clips of a run, frame by frame, with what is known of each frame."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from common.store.waveforms import WaveformStore
from finetune.baseline.annotated_events import frame_targets
from finetune.baseline.frame_features import FrameFeatures
from finetune.baseline.frame_network import FrameNetwork


@dataclass(frozen=True)
class Frames:
    """The frames of n clips, which differ in their number of windows W.

    Attributes:
        features: of each clip, float32 [W, N, D].
        targets: whether each frame holds the events' labels: 1, 0 or NaN (not known), float32 [W, N, E].
    """

    features: list[np.ndarray]
    targets: list[np.ndarray]

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, taken: np.ndarray) -> "Frames":
        """The clips that ``taken``, bool [n], names."""
        rows = np.flatnonzero(taken)
        return Frames([self.features[row] for row in rows], [self.targets[row] for row in rows])

    @property
    def shape(self) -> tuple[int, int]:
        """n and D, as of an array of features."""
        return len(self), self.features[0].shape[2]


def frames_of(
    features: FrameFeatures,
    found: Sequence[np.ndarray],
    store: str | Path,
    clips: pd.DataFrame,
    events: pd.DataFrame | None,
    network: FrameNetwork,
) -> Frames:
    """Lay events over the frames of clips.

    Of clips of poor quality, and of recordings that have no event at all, nothing is known: nobody looked for events there.

    Args:
        features: what made the frames.
        found: the features of each of n clips' frames, [W * N, D].
        store: folder of the waveform store, which knows how long the clips are.
        clips: their rows of the manifest.
        events: annotated, see `finetune.baseline.annotated_events.read_events`; None where there are none.
        network: which labels of the events it learns, and what holding one is.
    """
    labels, num_frames = list(network.events), features.num_frames
    num_samples = WaveformStore.open(store, clips, features.front_end.sample_rate).clips(clips).length.tolist()
    of_recording = {} if events is None else dict(iter(events.groupby("recording", sort=False)))
    targets = []
    for of_clip, length, clip in zip(found, num_samples, clips.to_dict("records"), strict=True):
        annotated = of_recording.get(clip["recording"])
        if annotated is None or clip["quality"] == "poor":
            held = np.full((len(of_clip), len(labels)), np.nan)
        else:
            spans = clip["start_s"] + features.spans(length)
            borders = annotated[["start_s", "end_s"]].fillna(np.inf).to_numpy(float)
            held = frame_targets(spans, borders, annotated[labels].to_numpy(float), network.held, network.touched)
        targets.append(held.astype(np.float32).reshape(-1, num_frames, len(labels)))
    return Frames([of_clip.reshape(-1, num_frames, of_clip.shape[1]) for of_clip in found], targets)
