"""``python -m pretrain stream`` in two processes that torchrun started: no clip is heard by both, and one of them speaks."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pandas as pd

from common.__main__ import main as common_main
from common.encoder_file import load_encoder

ROOT = Path(__file__).resolve().parents[2]
DRIVER = """
import json, os, sys
import pretrain.simclr as simclr
from pretrain.__main__ import main

folder = sys.argv.pop(1)
step = simclr.SimCLR.training_step
def noting(module, batch, number):
    with open(f"{folder}/heard-{module.global_rank}.jsonl", "a") as file:
        print(json.dumps([module.current_epoch, batch["row"][0].tolist()]), file=file)
    return step(module, batch, number)
simclr.SimCLR.training_step = noting
main()
"""


def test_two_processes_share_the_clips_of_every_epoch(made: Path, tmp_path: Path) -> None:
    shards, driver, run = tmp_path / "shards", tmp_path / "driver.py", tmp_path / "run"
    common_main(["shard", "--manifest", str(made / "manifest.csv"), "--out", str(shards), "--sample-rate", "4000", "--shard-mb", "0.05"])
    driver.write_text(DRIVER)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    processes = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", port, str(driver), str(tmp_path)]
    data = ["--data.shards", str(shards), "--data.workers", "0", "--data.batch_size", "3"]
    trainer = ["--trainer.accelerator", "cpu", "--trainer.devices", "2", "--trainer.strategy", "ddp", "--trainer.sync_batchnorm", "false"]
    options = ["-c", str(made / "tiny.yaml"), "--out", str(run), *data, *trainer]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run([*processes, "stream", *options], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    (figures,) = (json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{"))
    heard = [[json.loads(line) for line in (tmp_path / f"heard-{rank}.jsonl").read_text().splitlines()] for rank in range(2)]
    for epoch in range(figures["epochs"]):
        first, second = ([row for number, rows in of_rank if number == epoch for row in rows] for of_rank in heard)
        # 18 clips of 6 patients to train on; each process takes as many whole batches as the other.
        assert len(first) == len(second) > 0 and len({*first, *second}) == len(first) + len(second) <= 18
    assert load_encoder(figures["encoder"]).patients and pd.read_csv(run / "metrics.csv")["value"].notna().all()
