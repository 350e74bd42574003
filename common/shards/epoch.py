"""Which clips a process and its workers stream in an epoch, in which order: a function of seed, epoch, rank and worker only.

The shards of an epoch are laid end to end in random order, each to be read from its start to its end, and the clips in them are
cut into stretches of equal length: one per process, and in it one per worker. So every clip is read by one worker only, every
process has the same number of batches whatever the number of shards, and a worker opens a few shards, one after the other. Within its
stretch a worker shuffles by moving each clip back by a random number of places below ``shuffle_clips``: that is as good as a buffer
of as many clips from which one is drawn at a time, but the order is known before anything is read.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Share:
    """What one worker of one process takes of an epoch.

    Args:
        rank: this process.
        world_size: number of processes.
        worker: this worker of the process.
        workers: number of its workers.
    """

    rank: int = 0
    world_size: int = 1
    worker: int = 0
    workers: int = 1


@dataclass(frozen=True)
class Stretch:
    """The clips of one worker in one epoch.

    Attributes:
        clips: positions among the clips that may be read, in the order in which they lie in the shards, int64 [n].
        order: places in ``clips`` in the order in which they are delivered, int64 [n].
        draws: for the crops of each of ``clips``, float32 [n, V], uniform in [0, 1].
    """

    clips: np.ndarray
    order: np.ndarray
    draws: np.ndarray


def num_batches(num_clips: int, batch_size: int, world_size: int) -> int:
    """Batches of every process in an epoch; the clips that are left over are others in every epoch."""
    return max(1, num_clips // world_size // batch_size)


def worker_batches(batches: int, worker: int, workers: int) -> int:
    """How many of a process's batches a worker makes: batch i is made by worker i modulo ``workers``."""
    return -(-(batches - worker) // workers)


def stretch(shard: np.ndarray, batch_size: int, views: int, shuffle_clips: int, seed: int, epoch: int, share: Share) -> Stretch:
    """Choose a worker's clips.

    Args:
        shard: shard of each clip that may be read, int [n], rising.
        batch_size: clips per batch and process.
        views: numbers drawn per clip, V.
        shuffle_clips: how far a clip may move back, at least 1.
        seed: of the run.
        epoch: whose clips to choose.
        share: which part of them.
    """
    batches = num_batches(len(shard), batch_size, share.world_size)
    # Fewer clips than one batch are one smaller batch.
    of_process = min(batches * batch_size, len(shard) // share.world_size)
    before = sum(worker_batches(batches, worker, share.workers) for worker in range(share.worker)) * batch_size
    own = worker_batches(batches, share.worker, share.workers) * batch_size
    first = share.rank * of_process + min(before, of_process)
    last = share.rank * of_process + min(before + own, of_process)
    generator = np.random.default_rng([seed, epoch, share.rank, share.worker])
    places = np.arange(last - first)
    order = np.argsort(places + generator.uniform(0, shuffle_clips, len(places)), kind="stable")
    return Stretch(_laid_out(shard, seed, epoch)[first:last], order, generator.random((len(places), views), dtype=np.float32))


def _laid_out(shard: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """All clips as they lie in the shards, which come in random order; begun anywhere, so that what is left over changes, too."""
    generator = np.random.default_rng([seed, epoch])
    _, first, count = np.unique(shard, return_index=True, return_counts=True)
    order = generator.permutation(len(first))
    sequence = np.concatenate([np.arange(first[number], first[number] + count[number]) for number in order])
    return np.roll(sequence, -int(generator.integers(len(sequence))))
