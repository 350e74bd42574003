"""Windows cover a clip, pooling is per clip, and TorchScript computes the same."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.windows import clip_windows, pool_windows


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=5), st.integers(2, 20), st.data())
def test_windows_cover_every_sample_and_stay_inside(lengths: list[int], window: int, data: st.DataObject) -> None:
    hop = data.draw(st.integers(1, window))
    clip, start = clip_windows(lengths, window, hop)
    assert sorted(set(clip.tolist())) == list(range(len(lengths)))
    for number, length in enumerate(lengths):
        starts = start[clip == number].tolist()
        assert starts == sorted(set(starts))
        covered = {first + step for first in starts for step in range(window)}
        assert covered >= set(range(length))
        assert length <= window or max(covered) == length - 1
        assert all(later - earlier <= hop for earlier, later in itertools.pairwise(starts))


def test_pooling_is_per_clip() -> None:
    probabilities = torch.tensor([[0.2, 0.9], [0.4, 0.1], [1.0, 0.5]])
    clip = torch.tensor([1, 1, 0])
    assert torch.allclose(pool_windows(probabilities, clip, 2, "mean"), torch.tensor([[1.0, 0.5], [0.3, 0.5]]))
    assert torch.equal(pool_windows(probabilities, clip, 2, "max"), torch.tensor([[1.0, 0.5], [0.4, 0.9]]))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*")
def test_torchscript_computes_the_same() -> None:
    lengths = [3, 50, 17]
    clip, start = clip_windows(lengths, 8, 5)
    scripted_clip, scripted_start = torch.jit.script(clip_windows)(lengths, 8, 5)
    assert torch.equal(clip, scripted_clip) and torch.equal(start, scripted_start)
    probabilities = torch.rand(len(clip), 4)
    scripted = torch.jit.script(pool_windows)
    for aggregate in ("mean", "max"):
        assert torch.equal(scripted(probabilities, clip, 3, aggregate), pool_windows(probabilities, clip, 3, aggregate))
