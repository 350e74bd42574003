"""The module: its views, what its arguments reach, and the joined batch of several processes."""

import copy
import os
import socket
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from common.augment.base import Augmentation, Draw, Sampler
from common.augment.levels import Gain
from common.augment.noise import ColouredNoise, MixClip
from common.encoders.base import Encoder
from common.encoders.cnn import Cnn2d
from common.errors import UserError
from common.frontends.log_mel import LogMel
from common.training.checkpoint import open_module
from pretrain.chunks import in_chunks
from pretrain.loss import nt_xent
from pretrain.objectives import NTXent, SupCon, VICReg
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
        batch = {
            "crops": crops,
            "recording": torch.tensor([[0, 1, 2, 3, 4, 5, 6, 0], [0, 7, 2, 8, 1, 5, 9, 0]]),
            "patient": torch.tensor([[0, 1, 2, 3, 1, 5, 2, 0]]),
            "label": torch.tensor([[0, 1, -1, 0, 0, 1, -1, 1]]),
        }
        if torch.distributed.is_initialized():
            rank, size = torch.distributed.get_rank(), torch.distributed.get_world_size()
            # The joined batch is that of rank 0, then that of rank 1: give each a half in that order.
            part = slice(rank * 8 // size, (rank + 1) * 8 // size)
            return {name: value[:, part] for name, value in batch.items()}
        return batch


class Gradients(pl.Callback):
    """Keeps what the optimiser is given at every step."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Tensor]] = []

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
        self.steps.append({name: value.grad.clone() for name, value in pl_module.named_parameters() if value.grad is not None})


def learned(model: SimCLR, **trainer: Any) -> tuple[list[dict[str, Tensor]], dict[str, Tensor], dict[str, float]]:
    """Gradients of each step, final weights and figures of two epochs."""
    options: dict[str, Any] = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "use_distributed_sampler": False,
        "devices": 1,
        **trainer,
    }
    gradients = Gradients()
    fitted = pl.Trainer(accelerator="cpu", max_epochs=2, enable_model_summary=False, callbacks=[gradients], **options)
    fitted.fit(model, DataLoader(Rows(), batch_size=None))
    figures = {name: float(value) for name, value in fitted.callback_metrics.items()}
    return gradients.steps, {name: value.clone() for name, value in model.state_dict().items()}, figures


def no_batch_norm(**arguments: Any) -> SimCLR:
    torch.manual_seed(0)
    model = simclr(**{"encoder": MeanBins(), "optimizer": "sgd", "lr": 0.5, "warmup_epochs": 0.0, **arguments})
    model.projection_head = nn.Linear(8, 4)  # type: ignore[assignment]
    return model


def equal(found: dict[str, Tensor], wanted: dict[str, Tensor], atol: float) -> None:
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        assert torch.allclose(found[name], value, rtol=0, atol=atol), name


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


class DropoutBins(MeanBins):
    """With dropout, so that each pass must draw the same numbers."""

    def feature_map(self, spectrogram: Tensor) -> Tensor:
        return nn.functional.dropout(super().feature_map(spectrogram), 0.3, self.training)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("chunk_size", [1, 3, 4])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_chunks_give_the_gradient_of_the_whole_batch(chunk_size: int, precision: str) -> None:
    settings: dict[str, Any] = {"waveform_augmentation": MixClip(p=0.5), "objective": NTXent(0.1)}
    trainer = {"precision": precision, "gradient_clip_val": 0.5}
    whole = learned(no_batch_norm(**settings), **trainer)
    chunks = learned(no_batch_norm(**settings, chunk_size=chunk_size), **trainer)
    # The sums of bf16 products are rounded to bf16 once per chunk.
    atol = 1e-5 if precision == "32-true" else 2e-2
    for found, wanted in zip(chunks[0], whole[0], strict=True):
        assert wanted["encoder.layer.weight"].abs().max() > 1e-3
        equal(found, wanted, atol=atol)


def test_negatives_are_those_of_the_whole_batch() -> None:
    whole = learned(no_batch_norm())[2]["train/loss"]
    assert learned(no_batch_norm(chunk_size=2))[2]["train/loss"] == pytest.approx(whole, rel=1e-5)


def test_chunks_draw_the_same_dropout_in_both_passes() -> None:
    torch.manual_seed(0)
    network, x = DropoutBins(), torch.randn(2, 6, 1, 16, 4)
    torch.manual_seed(1)
    parts = [network(part.flatten(0, 1)).unflatten(0, (2, -1)) for part in x.split(2, dim=1)]
    after = torch.get_rng_state()
    torch.cat(parts, dim=1).square().sum().backward()
    wanted = {name: value.grad.clone() for name, value in network.named_parameters()}
    network.zero_grad()
    torch.manual_seed(1)
    result = in_chunks(network, x, 2)
    assert torch.equal(result, torch.cat(parts, dim=1)) and torch.equal(torch.get_rng_state(), after)
    result.square().sum().backward()
    equal({name: value.grad for name, value in network.named_parameters()}, wanted, atol=1e-6)
    assert torch.equal(torch.get_rng_state(), after)


def test_chunks_count_batch_norm_once_per_chunk() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    plain = copy.deepcopy(network)
    x = torch.randn(2, 6, 4)
    wanted = torch.cat([plain(part.flatten(0, 1)).unflatten(0, (2, -1)) for part in x.split(3, dim=1)], dim=1)
    wanted.pow(3).sum().backward()
    found = in_chunks(network, x, 3)
    found.pow(3).sum().backward()
    assert torch.equal(found, wanted)
    equal(network.state_dict(), plain.state_dict(), atol=0)
    grads = [{name: value.grad for name, value in each.named_parameters()} for each in (network, plain)]
    equal(*grads, atol=1e-5)
    assert network[1].track_running_stats and network[1].num_batches_tracked == 2


def test_chunks_keep_the_activations_of_one_chunk_only() -> None:
    alive, most = 0, 0

    class Counted(nn.Module):
        """A layer that notes how many clips' activations are kept for a backward pass."""

        def forward(self, x: Tensor) -> Tensor:
            nonlocal alive, most
            if torch.is_grad_enabled():
                alive += len(x)
                most = max(most, alive)
                x.register_hook(lambda grad: release(len(grad)))
            return x.tanh()

    def release(clips: int) -> None:
        nonlocal alive
        alive -= clips

    network = nn.Sequential(nn.Linear(4, 3), Counted())
    in_chunks(network, torch.randn(2, 32, 4), 4).sum().backward()
    assert (alive, most) == (0, 8)


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
