"""The two views of a clip: which crop each is of, what augments it, and in which layout and precision it reaches the encoder."""

import pytest
import torch
from made_simclr import simclr
from torch import Tensor

from common.augment.base import Augmentation, Draw, Sampler


class Noise(Augmentation):
    """Replaces whatever comes by noise."""

    def draw_parameters(self, x: Tensor, random: Sampler) -> Draw:
        return {"noise": random.normal(*x.shape[1:])}

    def change(self, x: Tensor, draw: Draw) -> Tensor:
        return draw["noise"]


def test_one_crop_is_both_views_and_two_crops_are_one_each() -> None:
    crops = torch.randn(2, 3, 2000)
    same = simclr(views="same_crop")
    assert same.crops_per_clip == 1
    first, second = same.views(crops[:1]).chunk(2)
    assert torch.equal(first, second) and torch.equal(first, same.front_end(crops[0]))
    two = simclr()
    assert two.crops_per_clip == 2
    first, second = two.views(crops).chunk(2)
    assert torch.equal(first, two.front_end(crops[0])) and torch.equal(second, two.front_end(crops[1]))


@pytest.mark.parametrize("where", ["waveform_augmentation", "spectrogram_augmentation"])
def test_views_of_one_crop_are_augmented_apart(where: str) -> None:
    first, second = simclr(views="same_crop", **{where: Noise()}).views(torch.randn(1, 3, 2000)).chunk(2)
    assert first.shape == (3, 1, 16, 32)
    assert not torch.isclose(first, second).any(dim=-1).all()


def test_channels_last_changes_the_layout_only() -> None:
    torch.manual_seed(0)
    plain = simclr(channels_last=False).eval()
    fast = simclr(channels_last=True).eval()
    fast.load_state_dict(plain.state_dict())
    assert fast.encoder.blocks[1][0].weight.is_contiguous(memory_format=torch.channels_last)
    waveform = torch.randn(2, 2000)
    assert torch.allclose(plain(waveform), fast(waveform), atol=1e-5)


def test_front_end_stays_in_float32_under_autocast() -> None:
    model = simclr()
    crops = torch.randn(2, 3, 2000)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        autocast = model.views(crops)
        embedded = model.encoder(autocast)
    assert torch.equal(autocast, model.views(crops))
    assert embedded.dtype == torch.bfloat16
