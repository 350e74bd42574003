"""Every batch has random numbers of its own, which do not depend on what ran before."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from common.training.step_seed import StepSeed, mix


def drawn(epoch: int, batch: int, rank: int = 0, validation: bool = False) -> float:
    trainer: Any = SimpleNamespace(current_epoch=epoch, global_rank=rank)
    module: Any = None
    if validation:
        StepSeed().on_validation_batch_start(trainer, module, None, batch)
    else:
        StepSeed().on_train_batch_start(trainer, module, None, batch)
    return float(torch.rand(()))


def test_training_batches_differ_and_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "1")
    keys = [(epoch, batch, rank) for epoch in range(3) for batch in range(3) for rank in range(2)]
    first = {key: drawn(*key) for key in keys}
    assert len(set(first.values())) == len(keys)
    torch.rand(1000)
    assert {key: drawn(*key) for key in reversed(keys)} == first
    monkeypatch.setenv("PL_GLOBAL_SEED", "2")
    assert not {drawn(*key) for key in keys} & set(first.values())


def test_validation_batches_are_alike_in_every_epoch_and_process() -> None:
    assert drawn(0, 1, validation=True) == drawn(7, 1, rank=1, validation=True) != drawn(0, 2, validation=True)
    assert drawn(0, 1, validation=True) not in {drawn(epoch, 1) for epoch in range(5)}


def test_mixed_seeds_fit_torch_and_do_not_collide() -> None:
    seeds = {mix(seed, epoch, batch, 0) for seed in range(10) for epoch in range(30) for batch in range(30)}
    assert len(seeds) == 9000
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert mix(1, 2) != mix(2, 1) and mix(0) != mix(0, 0)
