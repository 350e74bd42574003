"""The maps of one clip: each label's most probable window, its spectrogram, and what in it speaks for the label."""

from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from common.audio.clip import read_clip
from common.page.listening import Listening, listening
from common.windows import clip_windows, fill_index
from finetune.classifier import Classifier
from finetune.explain.grad_cam import grad_cam
from finetune.explain.occlusion import occlusion


@dataclass(frozen=True)
class LabelMap:
    """What speaks for one label.

    Attributes:
        label: its name.
        probability: of the window.
        start_s: where the window begins in the clip, s.
        spectrogram: [F, N], of the window.
        occlusion: [F, N], see `finetune.explain.occlusion.occlusion`.
        grad_cam: [F, N], or None where the encoder has no map.
    """

    label: str
    probability: float
    start_s: float
    spectrogram: Tensor
    occlusion: Tensor
    grad_cam: Tensor | None


@dataclass(frozen=True)
class Explained:
    """A clip with its maps.

    Attributes:
        listening: its audio.
        window_s: length of a window, s.
        sound_s: length of the clip, s; shorter than a window, the clip is repeated or silence follows.
        short_clips: which of the two, "repeat" or "pad".
        bin_hz: frequency of each bin of the maps, Hz, [F]; None where bins are no bands of frequency.
        maps: one per label.
    """

    listening: Listening
    window_s: float
    sound_s: float
    short_clips: str
    bin_hz: Tensor | None
    maps: list[LabelMap]

    @property
    def has_grad_cam(self) -> bool:
        """Whether the encoder has a map for it."""
        return all(of.grad_cam is not None for of in self.maps)


def explain_clip(classifier: Classifier, row: pd.Series, judged_by: str) -> Explained:
    """Explain the clip of a manifest's ``row``; ``judged_by`` says which network this is."""
    rate, end_s = classifier.front_end.sample_rate, None if pd.isna(row["end_s"]) else float(row["end_s"])
    waveform = torch.from_numpy(read_clip(row["path"], rate, float(row["start_s"]), end_s))
    windows, starts = _windows(classifier, waveform)
    with torch.no_grad():
        probabilities = classifier.task.probabilities(classifier(windows))
    maps = []
    done: dict[int, tuple[Tensor, Tensor, Tensor | None]] = {}
    for index, label in enumerate(classifier.task.labels):
        window = int(probabilities[:, index].argmax())
        if window not in done:
            with torch.no_grad():
                spectrogram = classifier.front_end(windows[window : window + 1])
            done[window] = spectrogram, occlusion(classifier, spectrogram), grad_cam(classifier, spectrogram)
        spectrogram, hidden, cam = done[window]
        probability, start_s = float(probabilities[window, index]), float(starts[window]) / rate
        maps.append(LabelMap(label, probability, start_s, spectrogram[0, 0], hidden[index], None if cam is None else cam[index]))
    facts = {"Patient": str(row["patient"]) or "-", "Judged by": judged_by}
    shown = listening(row, str(row["clip_id"]), facts, rate)
    return Explained(shown, classifier.clip_s, len(waveform) / rate, classifier.short_clips, classifier.front_end.bin_hz, maps)


def _windows(classifier: Classifier, waveform: Tensor) -> tuple[Tensor, Tensor]:
    """The windows [W, T] that training and prediction cut, and their first samples [W]."""
    size = round(classifier.clip_s * classifier.front_end.sample_rate)
    if len(waveform) < size:
        index = fill_index(size, torch.tensor([len(waveform)]), classifier.short_clips)
        filled = torch.where(index < 0, torch.zeros(()), waveform[index.clamp(min=0)])
        return filled, torch.zeros(1, dtype=torch.int64)
    _, starts = clip_windows([len(waveform)], size, classifier.hop_samples)
    return torch.stack([waveform[start : start + size] for start in starts.tolist()]), starts
