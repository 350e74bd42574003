"""Mixup of log spectrograms as sounds mix: their powers add (BYOL-A: Niizumi et al., 2021, equation 4)."""

import torch
from torch import Tensor

from common.augment.base import Augmentation, Draw, Sampler, checked_range, per_example, picked_examples, put_back


class Mixup(Augmentation):
    """Mix each log spectrogram with another of the batch: log((1 - r) exp(x) + r exp(x')), r uniform.

    In pretraining the other clip is a background that the embedding learns to overlook; its labels, if any, stay out. In fine-tuning
    the targets are mixed by the same draw (Zhang et al., 2018)::

        draw = mixup.draw(spectrogram)
        spectrogram, targets = mixup.apply_draw(spectrogram, draw), mixup.mix_targets(targets, draw)

    Args:
        ratio: range of r, the share of the other clip, within [0, 1].
        p: probability that an example is changed, 0 to 1.
    """

    def __init__(self, ratio: tuple[float, float] = (0.0, 0.4), p: float = 1.0) -> None:
        super().__init__(p)
        self.ratio = checked_range(self, "ratio", ratio, low=0, high=1)

    def draw_parameters(self, x: Tensor, random: Sampler) -> Draw:
        return {"partner": random.integers(len(x)), "ratio": random.uniform(*self.ratio)}

    def apply_draw(self, x: Tensor, draw: Draw, in_place: bool = False) -> Tensor:
        return super().apply_draw(x, {**draw, "other": x.index_select(0, draw["partner"]).float()}, in_place)

    def change(self, x: Tensor, draw: Draw) -> Tensor:
        ratio = per_example(draw["ratio"], x)
        return torch.logaddexp(x + torch.log1p(-ratio), draw["other"] + ratio.log())

    def mix_targets(self, targets: Tensor, draw: Draw) -> Tensor:
        """Mix ``targets`` [B, ...] linearly by a draw: (1 - r) y + r y'.

        NaN (not annotated) in either clip is NaN in the mixture, but an example that the draw leaves alone keeps its targets.
        """
        return put_back(
            targets, torch.lerp(picked_examples(targets, draw), targets[draw["partner"]], per_example(draw["ratio"], targets)), draw
        )
