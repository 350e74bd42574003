"""One fold's head over frames: trained on the clips and events of training patients, it gives the probabilities of other clips."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.errors import UserError
from finetune.baseline.frame_features import FrameFeatures
from finetune.baseline.frame_figures import frame_figures
from finetune.baseline.frame_network import FrameNetwork
from finetune.baseline.frames import Frames
from finetune.classifier import Classifier
from finetune.frame_head import SOME, AttentiveGru, FramesToLabels
from finetune.losses import masked_bce
from finetune.tasks.base import Task

LARGEST_NORM = 5.0


@dataclass
class FrameModel:
    """A head over frames and its training; see `FrameNetwork`.

    Attributes:
        task: labels, their loss and activation.
        settings: of the head and its training.
        seed: of everything drawn.
        constant: as of `finetune.baseline.model.BaselineModel`: none, since a network says something of every label.
        head: the fitted one.
        taught: whether it learnt from events, without which what it says of frames means nothing.
    """

    task: Task
    settings: FrameNetwork
    seed: int = 0
    constant: list[str] = field(default_factory=list, init=False)
    head: FramesToLabels = field(init=False)
    taught: bool = field(default=False, init=False)

    def fit(self, features: Frames, targets: np.ndarray) -> None:
        """Train on n clips and what is known of their frames.

        Args:
            features: of the clips; each of their windows is told what the clip is.
            targets: [n, L] of 1, 0 or NaN.

        Raises:
            UserError: there are events, and one of their labels is in no frame of these clips, or in all of them.
        """
        windows, held = np.concatenate(features.features), np.concatenate(features.targets)
        self._refuse_one_sided(held)
        self.taught = not np.isnan(held).all()
        self.task.fit_targets(targets)
        of_windows = np.repeat(targets, [len(clip) for clip in features.features], axis=0)
        frames, events, labels = (torch.from_numpy(part).float() for part in (windows, held, of_windows))
        with torch.random.fork_rng(devices=[]):
            self.head = self.settings.head.make(windows.shape[2], len(self.task.labels))
            self.head.measure(frames.transpose(1, 2).split(SOME))
            for number in range(len(self.head.networks)):
                torch.manual_seed(1000 * self.seed + number)
                network = AttentiveGru(windows.shape[2], len(self.task.labels), self.settings.head)
                self._train(network, frames, events, labels, _positive_weights(held))
                self.head.networks[number] = network
        self.head.eval()

    def probabilities(self, features: Frames) -> np.ndarray:
        """Of n clips, the mean of their windows', float64 [n, L]; one clip at a time, so that none depends on the others."""
        with torch.inference_mode():
            return torch.stack([self.task.probabilities(self.head(clip)).mean(dim=0) for clip in _maps(features)]).double().numpy()

    def held_out_figures(self, features: Frames) -> dict[str, Any]:
        """``frames``, see `finetune.baseline.frame_figures.frame_figures`, of the clips that the fold holds out; nothing without events."""
        if not self.taught:
            return {}
        with torch.inference_mode():
            found = [self.head.event_probabilities(clip).flatten(0, 1).double().numpy() for clip in _maps(features)]
        targets = [held.reshape(-1, held.shape[2]) for held in features.targets]
        return {"frames": frame_figures(np.concatenate(targets), np.concatenate(found), self.settings.events)}

    def classifier(self, features: FrameFeatures) -> Classifier:
        """The head behind what made its frames, as one network that is exported, explained and asked like those of ``finetune fit``."""
        made = Classifier(
            self.task,
            features.front_end,
            features.frames,
            clip_s=features.clip_s,
            hop_s=features.hop_s,
            mode="linear_probe",
            frame_head=self.settings.head,
        )
        made.head.load_state_dict(self.head.state_dict())
        return made.eval()

    def _train(self, network: AttentiveGru, windows: Tensor, held: Tensor, targets: Tensor, weights: Tensor) -> None:
        settings, size = self.settings, self.settings.batch_size
        optimiser = torch.optim.AdamW(network.parameters(), settings.lr, weight_decay=settings.weight_decay)
        steps = settings.epochs * -(-len(windows) // size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.lr, total_steps=steps)
        for _ in range(settings.epochs):
            for rows in torch.randperm(len(windows)).split(size):
                frames, holds, labels = self._mixed((windows[rows] - self.head.mean) / self.head.deviation, held[rows], targets[rows])
                of_frames, of_clips = network(frames)
                loss = self.task.loss(of_clips, labels)
                loss = loss + settings.event_weight * masked_bce(of_frames.flatten(0, 1), holds.flatten(0, 1), weights)
                optimiser.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), LARGEST_NORM)
                optimiser.step()
                schedule.step()

    def _mixed(self, frames: Tensor, held: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mix = self.settings.mix
        if mix is None:
            return frames, held, targets
        draw = mix.draw(frames)
        return mix.mix_inputs(frames, draw), mix.mix_targets(held.flatten(1), draw).view_as(held), mix.mix_targets(targets, draw)

    def _refuse_one_sided(self, held: np.ndarray) -> None:
        for label, column in zip(self.settings.events, held.reshape(-1, held.shape[-1]).T, strict=True):
            present, absent = int((column == 1).sum()), int((column == 0).sum())
            if present + absent and not (present and absent):
                raise UserError(
                    f"Of the frames that shall teach {label!r} in a fold, {present} hold an event of it and {absent} do not, and both are "
                    "needed: annotate more, take fewer folds, or leave it out of --model.classifier.init_args.events."
                )


def _maps(features: Frames) -> Iterator[Tensor]:
    """The feature map of each clip's windows, [W, D, N]."""
    return (torch.from_numpy(clip).transpose(1, 2) for clip in features.features)


def _positive_weights(held: np.ndarray) -> Tensor:
    """Of each event's positive frames: the root of how many negative ones there are to each. All of it would make a few frames shout."""
    present, absent = (held == 1).sum(axis=(0, 1)), (held == 0).sum(axis=(0, 1))
    return torch.from_numpy(np.sqrt(absent.clip(min=1) / present.clip(min=1))).float()
