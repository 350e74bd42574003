"""Batches of crops from shards, epoch after epoch, for Lightning: cut by worker processes, resumable within an epoch."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from common.errors import UserError
from common.shards.epoch import Share, num_batches, stretch, worker_batches
from common.shards.shard_set import ShardReader
from common.training.batches import crop_offsets

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Crops:
    """How batches are cut.

    Attributes:
        batch_size: clips per batch and process, B.
        views: crops of each clip, V.
        num_samples: of a crop, T.
        short_clips: what fills a clip shorter than that: "repeat" or "pad" with zeros.
        shuffle_clips: how far apart clips may be that are delivered beside each other; so many crops are held by each worker.
    """

    batch_size: int
    views: int
    num_samples: int
    short_clips: str = "repeat"
    shuffle_clips: int = 1000


class ShardLoader:
    """Yields the batches of one process: ``samples`` int16 [V, B, T], ``scale`` float32 [B], and an int64 [B] for each of ``codes``.

    A waveform is ``samples * scale``; int16 is half the bytes on the way from the workers to the device. The same seed, epoch, number
    of processes and number of workers give the same batches.

    Args:
        reader: of the shards.
        rows: clips that may be read, int64 [n], rising.
        codes: name -> a number for each of ``rows``, int64 [n], for example of its recording.
        crops: how batches are cut.
        workers: processes that read and cut; 0 does it in this one.
        seed: of order and crops.
        rank: this process.
        world_size: number of processes.
    """

    def __init__(
        self,
        reader: ShardReader,
        rows: np.ndarray,
        codes: dict[str, np.ndarray],
        crops: Crops,
        workers: int = 0,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if len(rows) < world_size:
            raise UserError(f"{len(rows)} clips cannot be divided between {world_size} processes: take fewer.")
        self._cutter = _Cutter(reader, rows, codes, crops, seed, Share(rank, world_size, 0, max(1, workers)))
        self._workers = workers
        self._epoch = 0
        self._delivered = 0
        self._resumed: tuple[int, int] | None = None

    @property
    def sampler(self) -> "ShardLoader":
        """Itself: Lightning announces an epoch to a loader's sampler."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches come next."""
        self._epoch = epoch

    def state_dict(self) -> dict[str, int]:
        """Where the current epoch stands; Lightning writes it into its checkpoints."""
        return {"epoch": self._epoch, "batches": self._delivered}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on there: what was delivered in that epoch is neither read nor cut again."""
        self._resumed = (state["epoch"], state["batches"])

    def __len__(self) -> int:
        crops = self._cutter.crops
        return num_batches(len(self._cutter.rows), crops.batch_size, self._cutter.share.world_size)

    def __iter__(self) -> Iterator[Batch]:
        # A generator: nothing starts before the first batch is asked for, when Lightning has announced the epoch.
        epoch = self._epoch
        self._delivered = self._resumed[1] if self._resumed is not None and self._resumed[0] == epoch else 0
        cutter = replace(self._cutter, epoch=epoch, delivered=self._delivered)
        pin = self._workers > 0 and torch.cuda.is_available()
        for batch in DataLoader(_Dataset(cutter), batch_size=None, num_workers=self._workers, pin_memory=pin):
            # Raised here: of an error raised in a worker, its traceback is what would be shown.
            if isinstance(batch, UserError):
                raise batch
            self._delivered += 1
            yield batch


@dataclass(frozen=True)
class _Cutter:
    """Makes the batches of one worker."""

    reader: ShardReader
    rows: np.ndarray
    codes: dict[str, np.ndarray]
    crops: Crops
    seed: int
    share: Share
    epoch: int = 0
    delivered: int = 0

    def batches(self, worker: int) -> Iterator[Batch]:
        """The batches that ``worker`` has still to make, where the process was given ``delivered`` of all."""
        workers, crops = self.share.workers, self.crops
        # A DataLoader begins with its first worker, who therefore plays the one whose turn it is.
        share = replace(self.share, worker=(worker + self.delivered) % workers)
        own = stretch(self.reader.shard[self.rows], crops.batch_size, crops.views, crops.shuffle_clips, self.seed, self.epoch, share)
        done = max(0, worker_batches(self.delivered, share.worker, workers)) * crops.batch_size
        order = own.order[done:]
        if not len(order):
            return
        left = np.sort(order)
        rows = self.rows[own.clips[left]]
        offsets = crop_offsets(
            torch.from_numpy(self.reader.length[rows]).unsqueeze(1), torch.from_numpy(own.draws[left]), crops.num_samples
        ).numpy()
        cut = zip(left.tolist(), offsets, self.reader.read(rows), strict=True)
        held: dict[int, np.ndarray] = {}
        for first in range(0, len(order), crops.batch_size):
            wanted = order[first : first + crops.batch_size]
            for place in wanted.tolist():
                while place not in held:
                    found, offset, samples = next(cut)
                    held[found] = self._cut(samples, offset)
            clips = own.clips[wanted]
            yield {
                "samples": torch.from_numpy(np.stack([held.pop(place) for place in wanted.tolist()], axis=1)),
                "scale": torch.from_numpy(self.reader.scale[self.rows[clips]]),
                **{name: torch.from_numpy(code[clips]) for name, code in self.codes.items()},
            }

    def _cut(self, samples: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """Crops of one clip, int16 [V, T], as `common.store.waveforms.WaveformStore.read` gives them."""
        length = self.crops.num_samples
        if len(samples) < length:
            one = np.resize(samples, length) if self.crops.short_clips == "repeat" else np.pad(samples, (0, length - len(samples)))
            return np.repeat(one[np.newaxis], len(offsets), axis=0)
        return np.stack([samples[offset : offset + length] for offset in offsets])


class _Dataset(IterableDataset[Any]):
    """What a worker process runs."""

    def __init__(self, cutter: _Cutter) -> None:
        self.cutter = cutter

    def __iter__(self) -> Iterator[Batch | UserError]:
        worker = get_worker_info()
        try:
            yield from self.cutter.batches(0 if worker is None else worker.id)
        except UserError as error:
            yield error
