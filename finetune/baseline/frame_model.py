"""One fold's network over frames: trained on the clips and events of training patients, it gives the probabilities of other clips."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from common.errors import UserError
from finetune.baseline.frame_network import FrameNetwork, FramesToLabels
from finetune.baseline.frames import Frames
from finetune.losses import masked_bce
from finetune.tasks.base import Task

# Of a feature that never changes.
LEAST_DEVIATION = 1e-3
LARGEST_NORM = 5.0
# Batches whose clips are sorted by length among each other.
NEIGHBOURS = 8


@dataclass
class FrameModel:
    """Networks of one fold, averaged; see `FrameNetwork`.

    Attributes:
        task: labels, their loss and activation.
        settings: of the networks and their training.
        seed: of everything drawn.
        constant: as of `finetune.baseline.model.BaselineModel`: none, since a network says something of every label.
    """

    task: Task
    settings: FrameNetwork
    seed: int = 0
    constant: list[str] = field(default_factory=list, init=False)
    _networks: list[FramesToLabels] = field(default_factory=list, init=False)
    _mean: np.ndarray = field(default_factory=lambda: np.zeros(0), init=False)
    _deviation: np.ndarray = field(default_factory=lambda: np.ones(0), init=False)

    def fit(self, features: Frames, targets: np.ndarray) -> None:
        """Train on n clips and what is known of their frames.

        Args:
            features: of the clips.
            targets: [n, L] of 1, 0 or NaN.

        Raises:
            UserError: there are events, and one of their labels is in no frame of these clips, or in all of them.
        """
        frames, held = np.concatenate(features.features), np.concatenate(features.targets)
        self._refuse_one_sided(held)
        self._mean, self._deviation = frames.mean(axis=0), np.maximum(frames.std(axis=0), LEAST_DEVIATION)
        self.task.fit_targets(targets)
        weights = _positive_weights(held)
        with torch.random.fork_rng(devices=[]):
            self._networks = [self._trained(features, targets, weights, number) for number in range(self.settings.networks)]

    def probabilities(self, features: Frames) -> np.ndarray:
        """Of n clips, float64 [n, L]; one clip at a time, so that none depends on the others."""
        found = np.empty((len(features), len(self.task.labels)))
        with torch.inference_mode():
            for row in range(len(features)):
                frames, lengths, _ = self._batch(features, np.array([row]))
                answers = [self.task.probabilities(network(frames, lengths)[1]).double() for network in self._networks]
                found[row] = torch.stack(answers).mean(dim=0)[0].numpy()
        return found

    def _trained(self, features: Frames, targets: np.ndarray, weights: Tensor, number: int) -> FramesToLabels:
        settings, seed = self.settings, 1000 * self.seed + number
        torch.manual_seed(seed)
        random, clips = np.random.default_rng(seed), len(features)
        network = settings.make_network(len(self._mean), len(self.task.labels)).train()
        optimiser = torch.optim.AdamW(network.parameters(), settings.lr, weight_decay=settings.weight_decay)
        steps = settings.epochs * -(-clips // settings.batch_size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, settings.lr, total_steps=steps)
        for _ in range(settings.epochs):
            for rows in self._batches(features, random):
                frames, lengths, held = self._batch(features, rows)
                events, labels = network(frames, lengths)
                loss = self.task.loss(labels, torch.from_numpy(targets[rows]).float())
                loss = loss + settings.event_weight * masked_bce(events.flatten(0, 1), held.flatten(0, 1), weights)
                optimiser.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), LARGEST_NORM)
                optimiser.step()
                schedule.step()
        return network.eval()

    def _batches(self, features: Frames, random: np.random.Generator) -> list[np.ndarray]:
        """All clips in random order, in batches that are alike in length as far as `NEIGHBOURS` batches allow: padding costs time."""
        order, size = random.permutation(len(features)), self.settings.batch_size
        lengths = np.array([len(frames) for frames in features.features])
        span = NEIGHBOURS * size
        parts = [order[first : first + span] for first in range(0, len(order), span)]
        alike = np.concatenate([part[lengths[part].argsort(kind="stable")] for part in parts])
        batches = [alike[first : first + size] for first in range(0, len(alike), size)]
        return [batches[number] for number in random.permutation(len(batches))]

    def _batch(self, features: Frames, rows: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """Standardised frames [B, N, D], how many each clip has [B], and what they hold [B, N, E], padding unknown."""
        lengths = np.array([len(features.features[row]) for row in rows])
        frames = np.zeros((len(rows), lengths.max(), len(self._mean)), dtype=np.float32)
        held = np.full((len(rows), lengths.max(), len(self.settings.events)), np.nan, dtype=np.float32)
        for place, row in enumerate(rows):
            frames[place, : lengths[place]] = (features.features[row] - self._mean) / self._deviation
            held[place, : lengths[place]] = features.targets[row]
        return torch.from_numpy(frames), torch.from_numpy(lengths), torch.from_numpy(held)

    def _refuse_one_sided(self, held: np.ndarray) -> None:
        for label, column in zip(self.settings.events, held.T, strict=True):
            present, absent = int((column == 1).sum()), int((column == 0).sum())
            if present + absent and not (present and absent):
                raise UserError(
                    f"Of the frames that shall teach {label!r} in a fold, {present} hold an event of it and {absent} do not, and both are "
                    "needed: annotate more, take fewer folds, or leave it out of --model.classifier.init_args.events."
                )


def _positive_weights(held: np.ndarray) -> Tensor:
    """Of each event's positive frames: the root of how many negative ones there are to each. All of it would make a few frames shout."""
    present, absent = (held == 1).sum(axis=0), (held == 0).sum(axis=0)
    return torch.from_numpy(np.sqrt(absent.clip(min=1) / present.clip(min=1))).float()
