"""Lets a real training run (way b) take turns with the other ways, so that a noisy machine is noisy to all of them alike."""

import resource
import statistics
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from benchmarks.throughput.clock import finish_work
from benchmarks.throughput.dataloader_way import Loop
from benchmarks.throughput.encoder_alone import EncoderAlone, peak_flops_per_s
from benchmarks.throughput.own_process import OwnProcess
from benchmarks.throughput.parts import seconds_of_parts
from common.files import write_json

# Way (c), and whether its allocator is set as our commands set theirs.
DATALOADERS = {"dataloader": False, "dataloader_keeping_memory": True}


class TakeTurns(pl.Callback):
    """Times rounds of ``steps`` training steps, and after each as many of the encoder alone and of the DataLoader's way.

    Args:
        results: JSON file for the figures.
        steps: of a round.
        rounds: rounds that count, after one that does not.
        workers: processes of the DataLoader.
    """

    def __init__(self, results: str, steps: int = 6, rounds: int = 5, workers: int = 2) -> None:
        self.results, self.steps, self.rounds, self.workers = Path(results), steps, rounds, workers
        self.taken: dict[str, list[float]] = {"encoder": [], "step": [], **{name: [] for name in DATALOADERS}}
        self.crops: list[Tensor] = []
        self.begun_s: float | None = None
        self.peak_memory_bytes: int | None = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        paths = trainer.datamodule.table["path"].tolist()  # type: ignore[attr-defined]
        self.alone = EncoderAlone(pl_module)
        loop = Loop.of(pl_module, paths, trainer.datamodule.batch_size, self.workers)  # type: ignore[attr-defined]
        self.dataloaders = {name: OwnProcess(loop, keeps_memory) for name, keeps_memory in DATALOADERS.items()}

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        for process in self.dataloaders.values():
            process.close()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.crops.append(batch["crops"])
        if len(self.crops) < self.steps:
            return
        finish_work(pl_module.device)
        self.peak_memory_bytes = self.peak_memory_bytes or peak_memory_bytes(pl_module.device)
        if self.begun_s is not None:
            self.taken["step"].append((time.perf_counter() - self.begun_s) / self.steps)
        with torch.no_grad():
            spectrograms = [pl_module.views(crops) for crops in self.crops]
        self.crops.clear()
        others = {"encoder": self.alone.step_seconds(spectrograms)}
        others |= {name: process.step_seconds(self.steps) for name, process in self.dataloaders.items()}
        if self.begun_s is not None:
            for name, taken in others.items():
                self.taken[name].append(taken)
        if len(self.taken["step"]) == self.rounds:
            trainer.should_stop = True
            write_json(self.results, self._figures(pl_module, batch, spectrograms[0]))
        # What the module and Lightning do from here to the end of the next round's last batch counts.
        self.begun_s = time.perf_counter()

    def _figures(self, module: Any, batch: dict[str, Tensor], spectrogram: Tensor) -> dict[str, Any]:
        clips = spectrogram.shape[0] // 2
        rates = {way: clips / statistics.median(taken) for way, taken in self.taken.items()}
        flops = self.alone.step_flops(spectrogram) / clips
        peak = peak_flops_per_s(module.device, torch.bfloat16 if "bf16" in str(module.trainer.precision) else torch.float32)
        return {
            "clips_per_s": rates,
            "step_over_encoder": _ratios(self.taken["encoder"], self.taken["step"]),
            **{f"step_over_{name}": _ratios(self.taken[name], self.taken["step"]) for name in DATALOADERS},
            **{f"{name}_over_encoder": _ratios(self.taken["encoder"], self.taken[name]) for name in DATALOADERS},
            "parts_ms": {name: 1000 * value for name, value in seconds_of_parts(module, batch).items()},
            "step_ms": 1000 * statistics.median(self.taken["step"]),
            "peak_memory_gb": (self.peak_memory_bytes or 0) / 1e9,
            "gflop_per_clip": flops / 1e9,
            "measured_peak_tflops": peak / 1e12,
            "encoder_share_of_peak": rates["encoder"] * flops / peak,
            "step_share_of_peak": rates["step"] * flops / peak,
        }


def peak_memory_bytes(device: torch.device) -> int:
    """The most memory that was taken so far: of a GPU what tensors took, else all of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # Linux counts in KiB.
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _ratios(slower: list[float], faster: list[float]) -> dict[str, float]:
    """Median, lowest and highest over the rounds of how many times the second is faster."""
    each = [one / other for one, other in zip(slower, faster, strict=True)]
    return {"median": statistics.median(each), "lowest": min(each), "highest": max(each)}
