"""SimCLR on spectrograms: two views of a clip should meet, views of different clips should part (Chen et al. 2020)."""

from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor

from common.augment.base import Augmentation
from common.encoders.base import Encoder
from common.errors import UserError
from common.frontends.base import FrontEnd
from common.training.checkpoint import DescribedModule
from common.training.optim import OptimizerName, configure, learning_rate, parameter_groups
from common.training.parts import check_parts
from pretrain.loss import contrastive_accuracy, nt_xent
from pretrain.meters import alignment, effective_rank, embedding_std, uniformity
from pretrain.probe import ProbeEpochs
from pretrain.projection_head import ProjectionHead


class SimCLR(DescribedModule):
    """Contrastive pretraining of an encoder.

    Args:
        front_end: waveform to spectrogram; its sample rate is that of the whole run.
        encoder: what is pretrained.
        waveform_augmentation: changes waveforms [B, T] of either view; none by default.
        spectrogram_augmentation: changes spectrograms [B, 1, F, N] of either view; none by default.
        views: "two_crops" of a clip, which teaches what stays in a recording over time, or the "same_crop" twice, which teaches
            what the augmentations leave. Two crops of a clip no longer than ``clip_s`` are the same crop.
        clip_s: length of a crop, s.
        short_clips: what fills a clip shorter than ``clip_s``: "repeat" it, or "pad" with zeros.
        mask_same_recording: leave clips of the same recording out of the negatives: they sound alike for a reason.
        temperature: of the loss; small ones count the hardest negatives only.
        projection_dim: length of the projections, on which the loss acts.
        projection_hidden: width of the projection head's hidden layers; that of the embedding by default.
        projection_layers: of the projection head, 2 (SimCLR) or 3 (SimCLR v2).
        optimizer: "adamw", "lars" (for batches of thousands) or "sgd".
        lr: highest learning rate, after the warm-up; it falls to 0 along a half cosine.
        weight_decay: of matrices and kernels; biases and norms get none.
        warmup_epochs: epochs over which the learning rate rises from 0.
        channels_last: memory layout of the encoder; faster for most networks, the result differs by rounding only.
    """

    def __init__(
        self,
        front_end: FrontEnd,
        encoder: Encoder,
        waveform_augmentation: Augmentation | None = None,
        spectrogram_augmentation: Augmentation | None = None,
        views: Literal["two_crops", "same_crop"] = "two_crops",
        clip_s: float = 8.0,
        short_clips: Literal["repeat", "pad"] = "repeat",
        mask_same_recording: bool = True,
        temperature: float = 0.1,
        projection_dim: int = 128,
        projection_hidden: int | None = None,
        projection_layers: int = 2,
        optimizer: OptimizerName = "adamw",
        lr: float = 1e-3,
        weight_decay: float = 1e-4,
        warmup_epochs: float = 5.0,
        channels_last: bool = True,
    ) -> None:
        for name, value in {
            "temperature": temperature,
            "lr": lr,
            "projection_dim": projection_dim,
            "projection_layers": projection_layers,
        }.items():
            if value <= 0:
                raise UserError(f"model.{name} is {value}, expected a number above 0.")
        check_parts(front_end, encoder, clip_s, waveform_augmentation, spectrogram_augmentation)
        super().__init__()
        self.front_end = front_end
        self.encoder = encoder
        if channels_last:
            encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.projection_head = ProjectionHead(
            encoder.num_features, projection_hidden or encoder.num_features, projection_dim, projection_layers
        )
        self.waveform_augmentation = waveform_augmentation
        self.spectrogram_augmentation = spectrogram_augmentation
        self.crops_per_clip = 2 if views == "two_crops" else 1
        self.clip_s = clip_s
        self.short_clips = short_clips
        self.mask_same_recording = mask_same_recording
        self.temperature = temperature
        self.optimizer = optimizer
        self.lr = lr
        self.weight_decay = weight_decay
        self.warmup_epochs = warmup_epochs
        self._validated: list[tuple[Tensor, Tensor, Tensor]] = []

    def forward(self, waveform: Tensor) -> Tensor:
        """Embed waveforms [B, T] as they are: [B, D]."""
        return self.encoder(self.front_end(waveform))

    def views(self, crops: Tensor) -> Tensor:
        """Make the two views of each clip: crops [V, B, T], V = 1 or 2, to spectrograms [2B, 1, F, N], first views first."""
        waveform = crops.expand(2, -1, -1).flatten(0, 1)
        if self.waveform_augmentation is not None:
            waveform = self.waveform_augmentation(waveform)
        spectrogram = self.front_end(waveform)
        if self.spectrogram_augmentation is not None:
            spectrogram = self.spectrogram_augmentation(spectrogram)
        return spectrogram

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        # One forward of both views, so that batch norm cannot tell them apart.
        z1, z2 = self.projection_head(self.encoder(self.views(batch["crops"]))).chunk(2)
        z1, z2, recording = self._joined(z1), self._joined(z2), self._joined(batch["recording"])
        same = self._same(recording)
        loss = nt_xent(z1, z2, self.temperature, same)
        # Once per epoch: looking at a number makes the host wait for the accelerator, and a diverged model stays diverged.
        if self.trainer.is_last_batch:
            self._refuse_not_finite(loss)
        size = len(batch["recording"])
        # Not train/loss_step on the progress bar, which would look at it at every step.
        self.log("train/loss", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=size)
        self.log("train/loss_step", loss, batch_size=size)
        self.log("train/accuracy", contrastive_accuracy(z1.detach(), z2.detach(), same), on_step=False, on_epoch=True, batch_size=size)
        self.log("train/lr", learning_rate(self.trainer), batch_size=size)
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        embeddings = self.encoder(self.views(batch["crops"]))
        z1, z2 = self.projection_head(embeddings).chunk(2)
        same = self._same(batch["recording"])
        size = len(z1)
        loss = nt_xent(z1, z2, self.temperature, same)
        self._refuse_not_finite(loss)
        self.log("val/loss", loss, prog_bar=True, batch_size=size)
        self.log("val/accuracy", contrastive_accuracy(z1, z2, same), batch_size=size)
        self._validated.append((embeddings[:size].float().cpu(), z1.float().cpu(), z2.float().cpu()))

    def on_validation_epoch_end(self) -> None:
        embeddings, z1, z2 = (torch.cat(parts) for parts in zip(*self._validated, strict=True))
        self._validated.clear()
        self.log("val/alignment", alignment(z1, z2))
        if len(z1) > 1:
            self.log("val/uniformity", uniformity(z1))
            self.log("val/embedding_std", embedding_std(embeddings))
            self.log("val/effective_rank", effective_rank(embeddings))

    def configure_callbacks(self) -> list[pl.Callback]:
        return [ProbeEpochs()]

    def configure_optimizers(self) -> Any:
        layers = [[parameter for parameter in self.parameters() if parameter.requires_grad]]
        groups = parameter_groups(layers, self.lr, self.weight_decay)
        return configure(self.trainer, self.optimizer, groups, self.warmup_epochs)

    def _joined(self, local: Tensor) -> Tensor:
        """``local`` [B, ...] of all W processes, [W B, ...], with gradients.

        Every process computes the whole loss of the joined batch. The gradient of the gathering sums what all W of them send back,
        W times the wanted gradient, and distributed training then averages over processes, which divides by W again.
        The processes come in the order of their rank in both views alike, so partners stay partners.
        """
        if self.trainer.world_size == 1:
            return local
        gathered = self.all_gather(local, sync_grads=local.is_floating_point())
        assert isinstance(gathered, Tensor)
        return gathered.flatten(0, 1)

    def _same(self, recording: Tensor) -> Tensor | None:
        return recording.unsqueeze(0) == recording.unsqueeze(1) if self.mask_same_recording else None

    def _refuse_not_finite(self, loss: Tensor) -> None:
        if not torch.isfinite(loss):
            raise UserError(
                f"The loss became {loss.item()} in epoch {self.current_epoch}, step {self.global_step}: lower model.lr ({self.lr}) or "
                "lengthen model.warmup_epochs, and check the recordings with 'python -m common audit'."
            )
