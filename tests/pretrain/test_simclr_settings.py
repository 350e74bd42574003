"""What the arguments of the module reach, what a checkpoint of it keeps, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from made_simclr import MeanBins, Rows, learned, no_batch_norm, simclr
from torch.utils.data import DataLoader

from common.augment.levels import Gain
from common.augment.noise import ColouredNoise
from common.errors import UserError
from common.training.checkpoint import open_module
from pretrain.loss import nt_xent
from pretrain.objectives import SupCon
from pretrain.simclr import SimCLR


@pytest.mark.filterwarnings("ignore")
def test_masks_are_of_the_recording_or_the_patient_or_nobody() -> None:
    losses = [learned(no_batch_norm(mask_negatives=mask), max_steps=1)[2]["train/loss"] for mask in ("none", "recording", "patient")]
    model = no_batch_norm()
    batch = Rows()[0]
    z1, z2 = model.projection_head(model.encoder(model.views(batch["crops"]))).chunk(2)
    for loss, codes in zip(losses, (None, batch["recording"], batch["patient"]), strict=True):
        assert loss == pytest.approx(float(nt_xent(z1, z2, 0.1, codes)), rel=1e-5)
    assert len(set(losses)) == 3


@pytest.mark.filterwarnings("ignore")
def test_a_checkpoint_opens_alone(tmp_path: Path) -> None:
    model = simclr(waveform_augmentation=Gain(), objective=SupCon(0.3), chunk_size=3, lr=0.01)
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
        ({"chunk_size": 0}, "model.chunk_size is 0"),
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
    with pytest.raises(UserError, match=r"The loss became nan in epoch 0, step 0: lower model\.lr"):
        trainer.fit(model, DataLoader(Rows(), batch_size=None))
