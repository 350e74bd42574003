"""The module: its views, what its arguments reach, and the joined batch of several processes."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from common.augment.base import Augmentation, Draw, Sampler
from common.augment.levels import Gain
from common.augment.noise import ColouredNoise
from common.encoders.base import Encoder
from common.encoders.cnn import Cnn2d
from common.errors import UserError
from common.frontends.log_mel import LogMel
from common.training.checkpoint import open_module
from pretrain.simclr import SimCLR


class MeanBins(Encoder):
    """Mean spectrum through one linear layer: no batch norm, so that a batch in two halves equals one."""

    def __init__(self, num_bins: int = 16) -> None:
        super().__init__()
        self.num_features = 8
        self.layer = nn.Linear(num_bins, 8)

    def feature_map(self, spectrogram: Tensor) -> Tensor:
        return self.layer(spectrogram.mean(dim=(1, 3))).unsqueeze(-1)


class Noise(Augmentation):
    """Replaces whatever comes by noise."""

    def draw_parameters(self, x: Tensor, random: Sampler) -> Draw:
        return {"noise": random.normal(*x.shape[1:])}

    def change(self, x: Tensor, draw: Draw) -> Tensor:
        return draw["noise"]


def simclr(**arguments: Any) -> SimCLR:
    defaults: dict[str, Any] = {"front_end": LogMel(num_mels=16), "encoder": Cnn2d(channels=[4, 8]), "clip_s": 0.5}
    return SimCLR(**{**defaults, **arguments})


def test_one_crop_is_both_views_and_two_crops_are_one_each() -> None:
    crops = torch.randn(2, 3, 2000)
    same = simclr(views="same_crop")
    assert same.crops_per_clip == 1
    first, second = same.views(crops[:1]).chunk(2)
    assert torch.equal(first, second) and torch.equal(first, same.front_end(crops[0]))
    two = simclr()
    assert two.crops_per_clip == 2
    first, second = two.views(crops).chunk(2)
    assert torch.equal(first, two.front_end(crops[0])) and torch.equal(second, two.front_end(crops[1]))


@pytest.mark.parametrize("where", ["waveform_augmentation", "spectrogram_augmentation"])
def test_views_of_one_crop_are_augmented_apart(where: str) -> None:
    first, second = simclr(views="same_crop", **{where: Noise()}).views(torch.randn(1, 3, 2000)).chunk(2)
    assert first.shape == (3, 1, 16, 32)
    assert not torch.isclose(first, second).any(dim=-1).all()


def test_channels_last_changes_the_layout_only() -> None:
    torch.manual_seed(0)
    plain = simclr(channels_last=False).eval()
    fast = simclr(channels_last=True).eval()
    fast.load_state_dict(plain.state_dict())
    assert fast.encoder.blocks[1][0].weight.is_contiguous(memory_format=torch.channels_last)
    waveform = torch.randn(2, 2000)
    assert torch.allclose(plain(waveform), fast(waveform), atol=1e-5)


def test_front_end_stays_in_float32_under_autocast() -> None:
    model = simclr()
    crops = torch.randn(2, 3, 2000)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        autocast = model.views(crops)
        embedded = model.encoder(autocast)
    assert torch.equal(autocast, model.views(crops))
    assert embedded.dtype == torch.bfloat16


class Rows(torch.utils.data.Dataset[dict[str, Tensor]]):
    """Two batches of 8 clips, of which each process sees its part."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        crops = torch.randn(2, 8, 1000, generator=torch.Generator().manual_seed(number))
        recording = torch.tensor([0, 1, 2, 3, 4, 5, 6, 0])
        if torch.distributed.is_initialized():
            rank, size = torch.distributed.get_rank(), torch.distributed.get_world_size()
            # The joined batch is that of rank 0, then that of rank 1: give each a half in that order.
            part = slice(rank * 8 // size, (rank + 1) * 8 // size)
            return {"crops": crops[:, part], "recording": recording[part]}
        return {"crops": crops, "recording": recording}


def trained(**trainer: Any) -> tuple[dict[str, Tensor], float]:
    torch.manual_seed(0)
    model = simclr(encoder=MeanBins(), optimizer="sgd", lr=0.5, warmup_epochs=0.0)
    model.projection_head = nn.Linear(8, 4)  # type: ignore[assignment]
    options: dict[str, Any] = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "use_distributed_sampler": False,
    }
    fitted = pl.Trainer(accelerator="cpu", max_epochs=2, enable_model_summary=False, **options, **trainer)
    fitted.fit(model, DataLoader(Rows(), batch_size=None))
    return {name: value.clone() for name, value in model.state_dict().items()}, float(fitted.callback_metrics["train/loss"])


@pytest.mark.filterwarnings("ignore")
def test_two_processes_learn_what_one_learns_of_the_joined_batch() -> None:
    alone, loss = trained(devices=1)
    # Spawned, not forked: a fork dies of the threads that backward passes of earlier tests left in this process.
    joined, joined_loss = trained(devices=2, strategy="ddp_spawn")
    assert joined_loss == pytest.approx(loss, rel=1e-5)
    torch.manual_seed(0)
    assert not torch.allclose(alone["encoder.layer.weight"], MeanBins().layer.weight)
    for name, value in alone.items():
        assert torch.allclose(joined[name], value, atol=1e-6), name


@pytest.mark.filterwarnings("ignore")
def test_a_checkpoint_opens_alone(tmp_path: Path) -> None:
    model = simclr(waveform_augmentation=Gain(), temperature=0.3, lr=0.01)
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path
    )
    trainer.fit(model, DataLoader(Rows(), batch_size=None))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    opened = open_module(tmp_path / "last.ckpt", SimCLR)
    assert opened.describe() == model.describe()
    waveform = torch.randn(2, 2000)
    assert torch.equal(opened(waveform), model.eval()(waveform))


def test_arguments_reach_the_optimiser() -> None:
    model = simclr(encoder=MeanBins(), lr=0.25, weight_decay=0.5, warmup_epochs=1.0, optimizer="sgd")
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=2, logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False
    )
    rates = []

    class Watch(pl.Callback):
        def on_train_batch_start(self, trainer: pl.Trainer, *args: Any) -> None:
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    trainer.callbacks.append(Watch())  # type: ignore[attr-defined]
    trainer.fit(model, DataLoader(Rows(), batch_size=None))
    (optimizer,) = trainer.optimizers
    assert isinstance(optimizer, torch.optim.SGD)
    decay = {parameter: group["weight_decay"] for group in optimizer.param_groups for parameter in group["params"]}
    assert decay[model.encoder.layer.weight] == 0.5
    assert decay[model.encoder.layer.bias] == 0
    assert len(decay) == len([parameter for parameter in model.parameters() if parameter.requires_grad])
    # Two steps of warm-up, then down the cosine from the top.
    assert rates == pytest.approx([0.25 / 3, 0.5 / 3, 0.25, 0.125])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperature": 0.0}, "model.temperature is 0.0"),
        ({"lr": -1.0}, "model.lr is -1.0"),
        ({"clip_s": 0.001}, "model.clip_s is 0.001"),
        ({"waveform_augmentation": ColouredNoise(8000)}, "ColouredNoise is set to 8000 Hz but the front end takes 4000 Hz"),
    ],
)
def test_settings_that_cannot_work_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        simclr(**arguments)


def test_a_loss_that_is_not_finite_stops_training() -> None:
    model = simclr(encoder=MeanBins())
    with torch.no_grad():
        model.encoder.layer.weight.fill_(torch.nan)
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False
    )
    with pytest.raises(UserError, match=r"The loss became nan in epoch 0, step 1: lower model\.lr"):
        trainer.fit(model, DataLoader(Rows(), batch_size=None))
