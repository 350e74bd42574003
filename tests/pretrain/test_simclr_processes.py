"""Two processes learn what one learns of their joined batch, with every objective and with chunks."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from made_simclr import MeanBins, equal, learned, no_batch_norm

from pretrain.objectives import SupCon, VICReg

CASES: dict[str, dict[str, Any]] = {
    "nt_xent": {},
    "chunks": {"chunk_size": 3, "mask_negatives": "patient"},
    "sup_con": {"objective": SupCon(block=3), "views": "two_recordings"},
    "vicreg": {"objective": VICReg(), "chunk_size": 2, "lr": 0.01},
}


def a_rank(rank: int, folder: str) -> None:
    """One of two processes, started by hand, so that each may say what gradients it had."""
    os.environ.update(MASTER_ADDR="127.0.0.1", NODE_RANK="0", LOCAL_RANK=str(rank))
    for case, arguments in CASES.items():
        steps, weights, figures = learned(no_batch_norm(**arguments), devices=2, strategy="ddp")
        torch.save({"steps": steps, "weights": weights, "figures": figures}, Path(folder) / f"{case}-{rank}.pt")


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes learned, CASE-RANK.pt. Spawned, not forked: a fork dies of the threads that earlier tests left in this process."""
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free, pytest.MonkeyPatch.context() as patch:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        patch.setenv("MASTER_PORT", str(port))
        torch.multiprocessing.spawn(a_rank, (str(folder),), nprocs=2)
    return folder


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES)
def test_two_processes_learn_what_one_learns_of_the_joined_batch(two_processes: Path, case: str) -> None:
    steps, weights, figures = learned(no_batch_norm(**{**CASES[case], "chunk_size": None}))
    torch.manual_seed(0)
    assert not torch.allclose(weights["encoder.layer.weight"], MeanBins().layer.weight)
    for rank in range(2):
        joined = torch.load(two_processes / f"{case}-{rank}.pt", weights_only=True)
        assert len(joined["steps"]) == len(steps) == 4
        for found, wanted in zip(joined["steps"], steps, strict=True):
            assert wanted["encoder.layer.weight"].abs().max() > 1e-3
            equal(found, wanted, atol=1e-6)
        equal(joined["weights"], weights, atol=1e-6)
        assert joined["figures"] == pytest.approx(figures, rel=1e-5)
