"""Way (c), what one would otherwise write: worker processes read and resample files, torchaudio's mel, lightly's NT-Xent.

Not a straw man: bf16 and channels-last where way (b) has them, a fused optimiser, pinned memory, and two augmentations only.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import soundfile
import torch
import torchaudio
from pytorch_lightning.plugins import Precision
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler

from benchmarks.throughput.clock import seconds
from common.encoders.base import Encoder
from common.errors import UserError
from common.frontends import LogMel
from common.training.optim import OptimizerName, make_optimizer
from pretrain.projection_head import ProjectionHead
from pretrain.simclr import SimCLR

# Batches that a worker makes ahead: torch's own default.
PREFETCH = 2


class TwoCrops(Dataset[tuple[Tensor, Tensor]]):
    """Reads a file whole, resamples it, cuts two crops."""

    def __init__(self, paths: list[str], sample_rate: int, num_samples: int) -> None:
        self.paths, self.sample_rate, self.num_samples = paths, sample_rate, num_samples

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        samples, rate = soundfile.read(self.paths[number], dtype="float32", always_2d=True)
        waveform = torchaudio.functional.resample(torch.from_numpy(samples.mean(axis=1)), rate, self.sample_rate)
        while len(waveform) < self.num_samples:
            waveform = torch.cat([waveform, waveform])
        return self._crop(waveform), self._crop(waveform)

    def _crop(self, waveform: Tensor) -> Tensor:
        start = int(torch.randint(len(waveform) - self.num_samples + 1, ()))
        return waveform[start : start + self.num_samples]


@dataclass(frozen=True)
class Loop:
    """What the loop takes from the run that it is compared with.

    Attributes:
        encoder: that is trained.
        front_end: whose rate, frames and bands are taken.
        precision: of the encoder.
        optimizer: its name.
        clip_s: length of a crop, s.
        device: where the encoder is.
        paths: audio files.
        batch_size: B.
        workers: processes that read.
    """

    encoder: Encoder
    front_end: LogMel
    precision: Precision
    optimizer: OptimizerName
    clip_s: float
    device: torch.device
    paths: list[str]
    batch_size: int
    workers: int

    @classmethod
    def of(cls, module: SimCLR, paths: list[str], batch_size: int, workers: int) -> "Loop":
        """The loop that a user of ``module``'s encoder would otherwise write."""
        assert isinstance(module.front_end, LogMel)
        # On the CPU, from where they can be sent to another process.
        encoder, front_end = copy.deepcopy(module.encoder).cpu(), copy.deepcopy(module.front_end).cpu()
        precision = module.trainer.precision_plugin
        return cls(encoder, front_end, precision, module.optimizer, module.clip_s, module.device, paths, batch_size, workers)


class DataLoaderWay:
    """A plain training loop."""

    def __init__(self, loop: Loop) -> None:
        try:
            from lightly.loss import NTXentLoss
        except ImportError as error:
            raise UserError("The comparison needs the package lightly: pip install -e '.[benchmark]'.") from error
        front_end, encoder = loop.front_end, loop.encoder
        self.device, self.precision, self.workers = loop.device, loop.precision, loop.workers
        head = ProjectionHead(encoder.num_features, encoder.num_features, 128)
        self.network = nn.Sequential(encoder, head).to(self.device)
        self.mel = nn.Sequential(
            torchaudio.transforms.MelSpectrogram(
                front_end.sample_rate,
                front_end.power_spectrum.n_fft,
                hop_length=front_end.hop,
                n_mels=front_end.num_bins,
                f_min=front_end.f_min_hz,
            ),
            torchaudio.transforms.AmplitudeToDB(),
            torchaudio.transforms.FrequencyMasking(12),
            torchaudio.transforms.TimeMasking(80),
        ).to(self.device)
        self.loss = NTXentLoss(temperature=0.1)
        self.optimizer = make_optimizer(loop.optimizer, [{"params": list(self.network.parameters()), "lr": 1e-5, "weight_decay": 0.0}])
        dataset = TwoCrops(loop.paths, front_end.sample_rate, round(loop.clip_s * front_end.sample_rate))
        self.loader = DataLoader(
            dataset,
            loop.batch_size,
            sampler=RandomSampler(dataset, replacement=True, num_samples=10**9),
            num_workers=loop.workers,
            pin_memory=self.device.type == "cuda",
            prefetch_factor=PREFETCH if loop.workers else None,
        )

    def step_seconds(self, steps: int) -> float:
        """Seconds per step, once the workers no longer live on what they made ahead."""
        batches = iter(self.loader)
        for _ in range(PREFETCH * self.workers + 1):
            self.step(batches)
        taken = seconds(partial(self.step, batches), self.device, repeats=steps)
        # The workers end with their iterator, or they would take the processor from whoever is timed next.
        del batches
        return taken

    def step(self, batches: Iterator[list[Tensor]]) -> None:
        first, second = (crops.to(self.device, non_blocking=True) for crops in next(batches))
        spectrogram = self.mel(torch.cat([first, second])).unsqueeze(1)
        spectrogram = (spectrogram - spectrogram.mean((-2, -1), keepdim=True)) / spectrogram.std((-2, -1), keepdim=True)
        with self.precision.forward_context():
            z1, z2 = self.network(spectrogram).chunk(2)
            loss = self.loss(z1, z2)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
