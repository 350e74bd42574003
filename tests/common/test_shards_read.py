"""Streaming shards: every clip once, the same batches again, and what is wrong is said."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_shards import assert_equal_batches, clips, loader, rows_of, run_shard
from made_store import RATE, open_store

from common.errors import UserError
from common.shards.epoch import Share, num_batches, stretch, worker_batches
from common.shards.loader import ShardLoader
from common.shards.shard_set import ShardReader, ShardSet


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """50 clips of 200 to 400 samples in some shards, in the folder ``shards`` beside their manifest."""
    folder = tmp_path_factory.mktemp("made")
    figures = run_shard(clips(folder, 50), folder / "shards", "--shard-mb", "0.02")
    assert figures["shards"] >= 5
    return folder


def test_batches_are_crops_of_the_clips_as_the_waveform_store_reads_them(made: Path) -> None:
    store, stored = open_store(made / "manifest.csv")
    names = [f"clip {number}" for number in range(50)]
    shards = ShardSet.open(str(made / "shards"))
    for length, mode in ((150, "repeat"), (700, "repeat"), (700, "pad")):
        batches = list(loader(made / "shards", num_samples=length, short_clips=mode))
        assert len(batches) == 50 // 4
        for batch in batches:
            assert batch["samples"].shape == (2, 4, length) and batch["samples"].dtype == torch.int16
            waveform = batch["samples"].float().mul_(batch["scale"].unsqueeze(1))
            place = torch.tensor([names.index(shards.table["clip_id"][row]) for row in batch["row"].tolist()])
            for view in range(2):
                for column, clip in enumerate(place):
                    one = stored[clip.unsqueeze(0)]
                    room = max(0, int(one.length) - length) + 1
                    offsets = torch.arange(room)
                    windows = store.read(stored[clip.repeat(room)], offsets, length, mode)
                    assert (windows == waveform[view, column]).all(dim=1).any(), "no crop of the clip"
    draws = torch.stack([batch["samples"][0, :, 0] != batch["samples"][1, :, 0] for batch in loader(made / "shards")])
    assert draws.float().mean() > 0.9, "the two crops of a clip are drawn apart"


@pytest.mark.parametrize("workers", [0, 2])
def test_two_processes_with_two_workers_see_each_clip_once(made: Path, workers: int) -> None:
    seen: Counter[int] = Counter()
    for epoch in range(4):
        loaders = [loader(made / "shards", workers, rank, 2) for rank in range(2)]
        for each in loaders:
            each.set_epoch(epoch)
        ranks = [rows_of(list(each)) for each in loaders]
        assert len(ranks[0]) == len(ranks[1]) == 4 * len(loaders[0]) == 24
        assert len({*ranks[0], *ranks[1]}) == 48, "a clip was seen twice"
        seen.update([*ranks[0], *ranks[1]])
    assert set(seen) == set(range(50)), "what is left over changes with the epoch"


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(1, 9), min_size=1, max_size=9),
    batch_size=st.integers(1, 7),
    world_size=st.integers(1, 4),
    workers=st.integers(1, 4),
    shuffle_clips=st.integers(1, 30),
    epoch=st.integers(0, 3),
)
def test_no_clip_is_read_twice_whatever_the_numbers(
    counts: list[int], batch_size: int, world_size: int, workers: int, shuffle_clips: int, epoch: int
) -> None:
    shard = np.repeat(np.arange(len(counts)), counts)
    if len(shard) < world_size:
        return
    batches = num_batches(len(shard), batch_size, world_size)
    taken: list[int] = []
    for rank in range(world_size):
        own = 0
        for worker in range(workers):
            part = stretch(shard, batch_size, 2, shuffle_clips, 0, epoch, Share(rank, world_size, worker, workers))
            assert sorted(part.order) == list(range(len(part.clips))) and part.draws.shape == (len(part.clips), 2)
            # Held at once: read up to the furthest that was delivered, and not delivered itself.
            held = np.maximum.accumulate(part.order) - np.arange(len(part.order))
            assert len(held) == 0 or held.max() <= shuffle_clips
            made = worker_batches(batches, worker, workers)
            assert (made - 1) * batch_size < len(part.clips) <= made * batch_size or not made
            own += len(part.clips)
            taken += part.clips.tolist()
        assert own == min(batches * batch_size, len(shard) // world_size)
    assert len(taken) == len(set(taken))


@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker processes")
@pytest.mark.parametrize("workers", [0, 1, 2, 3])
@pytest.mark.parametrize("delivered", [1, 2, 7, 12])
def test_a_resumed_loader_gives_the_batches_that_were_left(made: Path, workers: int, delivered: int) -> None:
    whole = loader(made / "shards", workers)
    whole.set_epoch(2)
    expected = []
    for number, batch in enumerate(whole, start=1):
        expected.append(batch)
        if number == delivered:
            state = whole.state_dict()
    assert state == {"epoch": 2, "batches": delivered} and len(expected) == len(whole) == 12
    resumed = loader(made / "shards", workers)
    resumed.load_state_dict(state)
    resumed.set_epoch(2)
    left = list(resumed)
    if delivered < len(expected):
        assert_equal_batches(left, expected[delivered:])
    else:
        assert left == []
    assert resumed.state_dict() == {"epoch": 2, "batches": 12}
    following = loader(made / "shards", workers)
    for each in (resumed, following):
        each.set_epoch(3)
    assert_equal_batches(list(resumed), list(following))


def test_what_was_delivered_is_not_read_again(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    original: Callable[..., Any] = ShardReader._read_clip

    def counting(self: ShardReader, file: Any, name: str, row: int) -> Any:
        read.append(row)
        return original(self, file, name, row)

    monkeypatch.setattr(ShardReader, "_read_clip", counting)
    resumed = loader(made / "shards")
    resumed.load_state_dict({"epoch": 0, "batches": 9})
    assert sorted(read) == [] and sorted(rows_of(list(resumed))) == sorted(read) and len(read) == 3 * 4


def test_epochs_and_seeds_differ_and_repeat(made: Path) -> None:
    def order(epoch: int) -> list[int]:
        each = loader(made / "shards")
        each.set_epoch(epoch)
        return rows_of(list(each))

    assert order(0) == order(0) and order(0) != order(1) != order(2)
    assert abs(np.corrcoef(order(0), np.arange(48))[0, 1]) < 0.9


def test_fewer_clips_than_a_batch_are_one_smaller_batch(made: Path) -> None:
    (batch,) = loader(made / "shards", workers=2, batch_size=64)
    assert sorted(batch["row"].tolist()) == list(range(50))
    reader = ShardSet.open(str(made / "shards")).reader
    with pytest.raises(UserError, match="1 clips cannot be divided between 2 processes"):
        ShardLoader(reader, np.array([3]), {}, loader(made / "shards")._cutter.crops, world_size=2)


def copied(made: Path, folder: Path) -> Path:
    folder.mkdir()
    for path in (made / "shards").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("damage", ["truncated", "changed", "missing"])
def test_a_damaged_shard_is_one_sentence(made: Path, tmp_path: Path, workers: int, damage: str) -> None:
    folder = copied(made, tmp_path / "shards")
    shard = folder / "clips-000001.tar"
    content = bytearray(shard.read_bytes())
    if damage == "missing":
        shard.unlink()
    else:
        content[2000] ^= damage == "changed"
        shard.write_bytes(content[:4000] if damage == "truncated" else content)
    expected = {"truncated": "ends before its byte", "changed": "wrong checksum", "missing": "cannot be read"}[damage]
    with pytest.raises(UserError) as caught:
        list(loader(folder, workers))
    sentence = str(caught.value)
    assert "clips-000001.tar" in sentence and expected in sentence and "Traceback" not in sentence
    assert sentence.endswith(".") and sentence.count(". ") == 0


def test_a_folder_that_is_no_set_of_shards_is_one_sentence(made: Path, tmp_path: Path) -> None:
    def refusal(folder: Path, rate: int = RATE) -> str:
        with pytest.raises(UserError) as caught:
            ShardSet.open(str(folder)).reader_at(rate)
        assert str(caught.value).count(". ") == 0
        return str(caught.value)

    assert "expected index.json there, which 'python -m common shard' writes" in refusal(tmp_path)
    assert "hold samples at 4000 Hz, but the front end takes 16000 Hz" in refusal(made / "shards", 16000)
    folder = copied(made, tmp_path / "shards")
    (folder / "clips.parquet").write_bytes(b"another table")
    assert "clips.parquet is damaged or belongs to other shards" in refusal(folder)
    (folder / "clips.parquet").unlink()
    assert "clips.parquet cannot be read" in refusal(folder)
    (folder / "index.json").write_text('{"format": "auscult.shards/9"}')
    assert "has the format 'auscult.shards/9', expected 'auscult.shards/1'" in refusal(folder)
    (folder / "index.json").write_text("no JSON")
    assert "index.json cannot be read" in refusal(folder)
