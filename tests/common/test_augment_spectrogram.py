"""What each spectrogram augmentation does."""

import math

import pytest
import torch
from torch import Tensor

from common.augment import FrequencyMask, Mixup, RandomResizedCrop, TimeMask


def spectrogram(size: int = 6, bins: int = 32, frames: int = 100) -> Tensor:
    return torch.randn(size, 1, bins, frames, generator=torch.Generator().manual_seed(0)) + 3.0


@pytest.mark.parametrize(("step", "axis"), [(TimeMask(0.3, num_masks=1), -1), (FrequencyMask(0.5, num_masks=1), -2)])
def test_masks_hide_what_was_drawn_and_nothing_else(step: TimeMask | FrequencyMask, axis: int) -> None:
    x = spectrogram()
    draw = step.draw(x)
    y = step.apply_draw(x, draw)
    for one, masked, start, width in zip(x, y, draw["start"], draw["width"], strict=True):
        expected = one.clone()
        expected.narrow(axis, int(start), int(width)).fill_(one.mean())
        torch.testing.assert_close(masked, expected)


def test_two_masks_hide_both_places() -> None:
    x = spectrogram(1)
    step = TimeMask(0.3, num_masks=2)
    y = step.apply_draw(x, {"start": torch.tensor([[2, 50]]), "width": torch.tensor([[3, 10]])})
    hidden = (y[0, 0] == x.mean()).all(dim=0).nonzero().flatten()
    assert hidden.tolist() == [2, 3, 4, *range(50, 60)]


def test_mask_widths_are_uniform_and_masks_fit() -> None:
    draw = TimeMask(0.2, num_masks=1).draw(torch.empty(21_000, 1, 4, 50), torch.Generator().manual_seed(0))
    width, start = draw["width"], draw["start"]
    # 0.2 of 50 frames: 0 to 10 frames, each as often.
    counts = torch.bincount(width.flatten(), minlength=11).float()
    assert len(counts) == 11
    assert (counts / len(width) * 11 - 1).abs().max() < 0.12
    assert start.min() == 0
    assert (start + width).max() == 50


def test_a_crop_of_the_whole_is_the_whole() -> None:
    x = spectrogram()
    step = RandomResizedCrop((1.0, 1.0), (1.0, 1.0), canvas=(1.0, 1.0))
    torch.testing.assert_close(step(x), x, atol=1e-4, rtol=1e-4)


def test_a_crop_shows_the_part_that_was_drawn() -> None:
    """A ramp over time and one over frequency: the crop's corners tell which part it shows."""
    frames, bins = 200, 64
    time = torch.linspace(-1, 1, frames).expand(bins, frames)
    x = torch.stack([time, torch.linspace(-1, 1, bins).unsqueeze(1).expand(bins, frames)]).unsqueeze(1)
    step = RandomResizedCrop()
    draw = {
        "height": torch.tensor([0.5, 0.5]),
        "width": torch.tensor([0.6, 0.6]),
        "frequency_centre": torch.tensor([0.25, 0.25]),
        "time_centre": torch.tensor([-0.2, -0.2]),
    }
    along_time, along_frequency = step.apply_draw(x, draw)[:, 0]
    assert along_time[10, [0, -1]].tolist() == pytest.approx([-0.8, 0.4], abs=0.02)
    assert along_frequency[[0, -1], 10].tolist() == pytest.approx([-0.25, 0.75], abs=0.03)


def test_crops_stay_on_the_canvas_and_cover_it() -> None:
    step = RandomResizedCrop(frequency_scale=(0.6, 1.5), time_scale=(0.6, 1.5), canvas=(1.0, 1.5))
    draw = step.draw(torch.empty(5000, 1, 2, 2), torch.Generator().manual_seed(0))
    assert draw["height"].max() == 1.0, "as high as the canvas at most"
    assert 0.6 <= draw["height"].min() < 0.61
    assert draw["width"].max() <= 1.5
    assert ((draw["frequency_centre"].abs() + draw["height"]) <= 1 + 1e-6).all()
    reach = draw["time_centre"].abs() + draw["width"]
    assert 1.45 < reach.max() <= 1.5 + 1e-6


def test_what_lies_past_the_edge_is_the_mean() -> None:
    x = spectrogram(1)
    draw = {
        name: torch.tensor([value]) for name, value in {"height": 1.0, "width": 1.5, "frequency_centre": 0.0, "time_centre": 0.0}.items()
    }
    y = RandomResizedCrop().apply_draw(x, draw)
    torch.testing.assert_close(y[..., :15], x.mean().expand(1, 1, 32, 15))
    assert y[..., 30:70].std() > 0.3


def test_mixup_adds_powers() -> None:
    x = spectrogram()
    mixup = Mixup((0.0, 0.6))
    draw = mixup.draw(x)
    ratio = draw["ratio"].view(-1, 1, 1, 1)
    expected = ((1 - ratio) * x.exp() + ratio * x[draw["partner"]].exp()).log()
    torch.testing.assert_close(mixup.apply_draw(x, draw), expected)


@pytest.mark.parametrize(("ratio", "taken_from"), [(0.0, 0), (1.0, 1)])
def test_mixup_at_its_ends_is_one_clip_or_the_other(ratio: float, taken_from: int) -> None:
    x = spectrogram(2)
    draw = {"partner": torch.tensor([1, 0]), "ratio": torch.full((2,), ratio)}
    torch.testing.assert_close(Mixup().apply_draw(x, draw), x.roll(taken_from, 0))


def test_targets_are_mixed_by_the_same_draw_and_unknown_ones_stay_unknown() -> None:
    nan = math.nan
    targets = torch.tensor([[1.0, 0.0], [0.0, nan], [1.0, 1.0], [nan, 0.0]])
    mixup = Mixup((0.25, 0.25))
    draw = {
        "rows": torch.tensor([0, 2, 3]),
        "chosen": torch.tensor([True, True, False]),
        "partner": torch.tensor([1, 0, 1]),
        "ratio": torch.full((3,), 0.25),
    }
    mixed = mixup.mix_targets(targets, draw)
    expected = torch.tensor([[0.75, nan], [0.0, nan], [1.0, 0.75], [nan, 0.0]])
    torch.testing.assert_close(mixed, expected, equal_nan=True)


def test_partners_come_from_the_whole_batch() -> None:
    draw = Mixup(p=0.2).draw(torch.empty(50, 1, 2, 2), torch.Generator().manual_seed(0))
    assert len(draw["partner"]) == 10
    assert draw["partner"].max() > 25
