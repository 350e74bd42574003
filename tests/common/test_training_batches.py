"""Batches are a function of seed, epoch and rank: nothing else decides which clips, in which order, cropped where."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.training.batches import BatchSampler, crop_offsets, loader


def rows(sampler: BatchSampler) -> list[list[int]]:
    return [batch["row"].tolist() for batch in sampler]


def joined(*samplers: BatchSampler) -> list[int]:
    return [row for sampler in samplers for batch in rows(sampler) for row in batch]


def test_an_epoch_holds_each_clip_once_in_an_order_of_its_own() -> None:
    sampler = BatchSampler(20, 5, views=2, seed=3)
    first = list(sampler)
    assert sorted(joined(sampler)) == list(range(20))
    assert all(batch["row"].shape == (5,) and batch["draw"].shape == (5, 2) for batch in first)
    torch.manual_seed(999)
    again = list(BatchSampler(20, 5, views=2, seed=3))
    assert all(torch.equal(a["row"], b["row"]) and torch.equal(a["draw"], b["draw"]) for a, b in zip(first, again, strict=True))
    sampler.set_epoch(1)
    assert rows(sampler) != [batch["row"].tolist() for batch in first]
    assert rows(BatchSampler(20, 5, seed=4)) != rows(BatchSampler(20, 5, seed=3))


def test_draws_are_uniform_and_differ_between_epochs_views_and_clips() -> None:
    sampler = BatchSampler(4000, 1000, views=2, seed=0)
    draws = torch.cat([batch["draw"] for batch in sampler])
    sampler.set_epoch(1)
    later = torch.cat([batch["draw"] for batch in sampler])
    assert draws.min() >= 0 and draws.max() <= 1 and abs(draws.mean() - 0.5) < 0.02
    # In single precision some eight pairs of 16000 are equal by chance.
    assert torch.cat([draws, later]).flatten().unique().numel() > 15900


@pytest.mark.parametrize("num_clips", [1, 7, 8, 17])
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_in_validation_every_clip_comes_once_over_all_processes_alike_in_every_epoch(num_clips: int, world_size: int) -> None:
    samplers = [BatchSampler(num_clips, 4, shuffle=False, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert len({len(sampler) for sampler in samplers}) == 1
    assert sorted(joined(*samplers)) == list(range(num_clips))
    before = [batch["draw"] for batch in samplers[0]]
    samplers[0].set_epoch(5)
    assert all(torch.equal(a, b["draw"]) for a, b in zip(before, samplers[0], strict=True))


@pytest.mark.parametrize(("num_clips", "batches"), [(3, 1), (8, 1), (15, 1), (16, 2), (33, 4)])
def test_in_training_processes_get_as_many_clips_and_none_twice(num_clips: int, batches: int) -> None:
    samplers = [BatchSampler(num_clips, 4, rank=rank, world_size=2, seed=1) for rank in range(2)]
    parts = [rows(sampler) for sampler in samplers]
    assert [len(part) for part in parts] == [batches, batches] == [len(sampler) for sampler in samplers]
    assert [len(batch) for batch in parts[0]] == [len(batch) for batch in parts[1]]
    taken = joined(*samplers)
    assert len(taken) == len(set(taken))


def test_the_loader_hands_batches_on_as_they_are() -> None:
    sampler = BatchSampler(6, 4, shuffle=False)
    loaded = list(loader(sampler))
    assert [batch["row"].tolist() for batch in loaded] == [[0, 1, 2, 3], [4, 5]]


@given(st.integers(1, 10_000), st.integers(1, 10_000), st.floats(0, 1, width=32))
def test_crops_lie_in_their_clip(length: int, num_samples: int, draw: float) -> None:
    (offset,) = crop_offsets(torch.tensor([length]), torch.tensor([draw]), num_samples).tolist()
    assert 0 <= offset <= max(0, length - num_samples)


def test_crops_reach_both_ends_of_a_clip() -> None:
    draws = torch.rand(4000, generator=torch.Generator().manual_seed(0))
    offsets = crop_offsets(torch.full((4000,), 12), draws, 8)
    assert torch.bincount(offsets, minlength=5).tolist() == pytest.approx([800] * 5, rel=0.15)
