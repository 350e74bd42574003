"""What answers the windows of a track: a model that tells a window as a whole, or one that tells each frame of it."""

from typing import Literal

import numpy as np
import torch

from common.errors import UserError
from finetune.predict.model_file import ModelFile

By = Literal["frames", "windows"]


class Judge:
    """Windows [W, T] to probabilities of R neighbouring stretches of each, [W, R, L].

    Args:
        model: exported model.

    Attributes:
        model: that one.
        by: "windows" or "frames".
        labels: names of the L columns.
        thresholds: from which probability on each is there.
        wanted: the labels whose events are looked for where nothing is said.
        longest_s: of a window, s.
        hop_share: of a window, from one to the next, where nothing is said.
        stretch_s: from the beginning of one stretch to that of the next, s; the last one lasts to the window's end.
    """

    by: By
    labels: list[str]
    thresholds: list[float]
    wanted: list[str]
    longest_s: float
    hop_share: float
    stretch_s: float

    def __init__(self, model: ModelFile) -> None:
        self.model = model

    def answer(self, windows: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
        """Map windows, float32 [W, T], to probabilities, float32 [W, R, L], and their quality flags, int64 [W]."""
        raise NotImplementedError


class JudgeOfWindows(Judge):
    """Each window is one stretch, which the model tells as it would a recording."""

    by, hop_share, longest_s, stretch_s = "windows", 0.1, float("inf"), float("inf")

    def __init__(self, model: ModelFile) -> None:
        super().__init__(model)
        self.labels, self.thresholds = model.labels, model.thresholds
        self.wanted = [label for label in model.labels if label != model.task.normal]

    @torch.inference_mode()
    def answer(self, windows: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
        probabilities, flags = self.model.module(torch.from_numpy(windows), sample_rate)
        return probabilities.numpy().astype(np.float32)[:, np.newaxis], flags.numpy()


class JudgeOfFrames(Judge):
    """Each frame of a window is a stretch, of whose events the model was taught by annotations; see `has_frames`.

    Windows overlap by half, as in training, since a frame is told by what comes before and after it.
    """

    by, hop_share = "frames", 0.5

    def __init__(self, model: ModelFile) -> None:
        super().__init__(model)
        frames = model.metadata["frames"]
        self.labels, self.thresholds, self.stretch_s = frames["labels"], frames["thresholds"], frames["frame_s"]
        self.wanted, self.longest_s = self.labels, float(model.metadata["clip_s"])

    @torch.inference_mode()
    def answer(self, windows: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
        probabilities, flags = self.model.module.frames(torch.from_numpy(windows), sample_rate)
        return probabilities.numpy().astype(np.float32), flags.numpy()


def has_frames(model: ModelFile) -> bool:
    """Whether a model tells the frames of a window; files that an earlier version exported say nothing of it."""
    return model.metadata.get("frames") is not None


def judge_of(model: ModelFile, by: By | None = None) -> Judge:
    """What judges by ``model``.

    Args:
        model: exported model.
        by: of which of its answers a track is made; by default of frames where it tells them.

    Raises:
        UserError: it tells no frames, and they are asked for.
    """
    if by == "frames" and not has_frames(model):
        raise UserError(
            "--by frames needs a model that annotated events taught frame by frame, and this one tells whole windows only: take one of "
            "'python -m finetune baseline' with --data.events (trained and exported by this version), or leave --by out."
        )
    return JudgeOfFrames(model) if by != "windows" and has_frames(model) else JudgeOfWindows(model)
