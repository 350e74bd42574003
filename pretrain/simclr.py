"""SimCLR on spectrograms: two views of a clip should meet, views of different clips should part (Chen et al. 2020).

What exactly is asked of the views is the objective's business, see `pretrain.objectives`.
"""

from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from common.augment.base import Augmentation
from common.encoders.base import Encoder
from common.errors import UserError
from common.frontends.base import FrontEnd
from common.training.checkpoint import DescribedModule
from common.training.optim import OptimizerName, configure, learning_rate, parameter_groups
from common.training.parts import check_parts
from pretrain.chunks import in_chunks
from pretrain.loss import contrastive_accuracy
from pretrain.monitor.meters import alignment, effective_rank, embedding_std, uniformity
from pretrain.monitor.probing import ProbeEpochs
from pretrain.monitor.stopping import StopWhenBroken
from pretrain.monitor.views import ViewPictures
from pretrain.objectives.base import Objective, Pairs
from pretrain.objectives.nt_xent import NTXent
from pretrain.projection_head import ProjectionHead


class SimCLR(DescribedModule):
    """Contrastive pretraining of an encoder.

    Args:
        front_end: waveform to spectrogram; its sample rate is that of the whole run.
        encoder: what is pretrained.
        waveform_augmentation: changes waveforms [B, T] of either view; none by default.
        spectrogram_augmentation: changes spectrograms [B, 1, F, N] of either view; none by default.
        views: the "same_crop" twice, which teaches what the augmentations leave; "two_crops" of a clip, which teaches what stays in
            a recording over time; or crops of "two_recordings" of one patient at one site, which teaches what stays from one
            recording to the next. A clip without such a second recording gives two crops, and two crops of a clip no longer than
            ``clip_s`` are the same crop.
        clip_s: length of a crop, s.
        short_clips: what fills a clip shorter than ``clip_s``: "repeat" it, or "pad" with zeros.
        mask_negatives: leave clips of the same "recording" out of the negatives, since they sound alike for a reason; or those of the
            same "patient", which stands for the recording where it is not named; or "none".
        objective: what training lowers: NTXent (SimCLR), SupCon on ``data.labels``, or VICReg.
        projection_dim: length of the projections, on which the loss acts.
        projection_hidden: width of the projection head's hidden layers; that of the embedding by default.
        projection_layers: of the projection head, 2 (SimCLR) or 3 (SimCLR v2).
        optimizer: "adamw", "lars" (for batches of thousands) or "sgd".
        lr: highest learning rate, after the warm-up; it falls to 0 along a half cosine.
        weight_decay: of matrices and kernels; biases and norms get none.
        warmup_epochs: epochs over which the learning rate rises from 0.
        channels_last: memory layout of the encoder; faster for most networks, the result differs by rounding only.
        chunk_size: clips that go through encoder and head at a time where a whole batch does not fit the memory; each twice, the
            second time for its gradient. The loss is that of the whole batch, and so is the gradient but for batch norm, which
            counts each chunk on its own: take chunks of some dozens. The whole batch at once by default.
        collapse_epochs: epochs of collapse, one after the other, after which the run stops; 0: it never does. The warm-up and the
            first 100 steps do not count.
        collapse_std: the embeddings count as collapsed while val/embedding_std is below this (0 all alike, 1 spread evenly),
        collapse_rank: or while val/effective_rank is below this (0 all alike, 1 all on one line).
    """

    def __init__(
        self,
        front_end: FrontEnd,
        encoder: Encoder,
        waveform_augmentation: Augmentation | None = None,
        spectrogram_augmentation: Augmentation | None = None,
        views: Literal["same_crop", "two_crops", "two_recordings"] = "two_crops",
        clip_s: float = 8.0,
        short_clips: Literal["repeat", "pad"] = "repeat",
        mask_negatives: Literal["none", "recording", "patient"] = "recording",
        objective: Objective = NTXent(),  # noqa: B008, it has no state, and the command line shows its arguments
        projection_dim: int = 128,
        projection_hidden: int | None = None,
        projection_layers: int = 2,
        optimizer: OptimizerName = "adamw",
        lr: float = 1e-3,
        weight_decay: float = 1e-4,
        warmup_epochs: float = 5.0,
        channels_last: bool = True,
        chunk_size: int | None = None,
        collapse_epochs: int = 5,
        collapse_std: float = 0.005,
        collapse_rank: float = 1.1,
    ) -> None:
        for name, value in {
            "lr": lr,
            "projection_dim": projection_dim,
            "projection_layers": projection_layers,
            "chunk_size": chunk_size,
        }.items():
            if value is not None and value <= 0:
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
        self.crops_per_clip = 1 if views == "same_crop" else 2
        self.pairs_recordings = views == "two_recordings"
        self.clip_s = clip_s
        self.short_clips = short_clips
        self.mask_negatives = mask_negatives
        self.objective = objective
        self.optimizer = optimizer
        self.lr = lr
        self.weight_decay = weight_decay
        self.warmup_epochs = warmup_epochs
        self.chunk_size = chunk_size
        self.collapse_epochs = collapse_epochs
        self.collapse_std = collapse_std
        self.collapse_rank = collapse_rank
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
        pairs = self._joined(self._project(self.views(batch["crops"])), batch)
        loss = self.objective(pairs)
        accuracy = contrastive_accuracy(pairs.z1, pairs.z2, pairs.codes, pairs.own)
        joined_loss, joined_accuracy = self._mean_of_processes(torch.stack([loss.detach(), accuracy]))
        size = batch["crops"].shape[1]
        # Not train/loss_step on the progress bar, which would look at it at every step.
        self.log("train/loss", joined_loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=size)
        self.log("train/loss_step", joined_loss, batch_size=size)
        self.log("train/accuracy", joined_accuracy, on_step=False, on_epoch=True, batch_size=size)
        self.log("train/lr", learning_rate(self.trainer), batch_size=size)
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        spectrogram = self.views(batch["crops"])
        size = len(spectrogram) // 2
        embeddings = torch.cat([self.encoder(part) for part in spectrogram.split(2 * (self.chunk_size or size))])
        # Each process goes through all validation clips.
        pairs = self._pairs(self.projection_head(embeddings).unflatten(0, (2, size)), batch)
        loss = self.objective(pairs)
        self.log("val/loss", loss, prog_bar=True, batch_size=size)
        self.log("val/accuracy", contrastive_accuracy(pairs.z1, pairs.z2, pairs.codes), batch_size=size)
        self._validated.append((embeddings[:size].float().cpu(), pairs.z1.float().cpu(), pairs.z2.float().cpu()))
        return loss

    def on_validation_epoch_end(self) -> None:
        embeddings, z1, z2 = (torch.cat(parts) for parts in zip(*self._validated, strict=True))
        self._validated.clear()
        self.log("val/alignment", alignment(z1, z2))
        if len(z1) > 1:
            self.log("val/uniformity", uniformity(z1))
            self.log("val/embedding_std", embedding_std(embeddings))
            self.log("val/effective_rank", effective_rank(embeddings))

    def configure_callbacks(self) -> list[pl.Callback]:
        stop = StopWhenBroken(self.collapse_epochs, self.collapse_std, self.collapse_rank, self.warmup_epochs)
        return [stop, ViewPictures(), ProbeEpochs()]

    def configure_optimizers(self) -> Any:
        if self.trainer.accumulate_grad_batches != 1:
            raise UserError(
                f"trainer.accumulate_grad_batches is {self.trainer.accumulate_grad_batches}, expected 1: each of the accumulated batches "
                "would have its own clips only as negatives. Take the whole batch as data.batch_size and a part that fits the memory as "
                "model.chunk_size."
            )
        layers = [[parameter for parameter in self.parameters() if parameter.requires_grad]]
        groups = parameter_groups(layers, self.lr, self.weight_decay)
        return configure(self.trainer, self.optimizer, groups, self.warmup_epochs)

    def _project(self, spectrogram: Tensor) -> Tensor:
        """Projections [2, B, D] of spectrograms [2B, 1, F, N], both views in one forward, so that batch norm cannot tell them apart.

        The spectrograms stay whole when the rest goes in chunks: they are small beside an encoder's activations, and augmentations
        that mix the clips of a batch mix the same ones then.
        """
        network = nn.Sequential(self.encoder, self.projection_head)
        if self.chunk_size is None or 2 * self.chunk_size >= len(spectrogram):
            return network(spectrogram).unflatten(0, (2, -1))
        return in_chunks(network, spectrogram.unflatten(0, (2, -1)), self.chunk_size)

    def _pairs(self, z: Tensor, batch: dict[str, Tensor]) -> Pairs:
        """What the objective is given, of projections [2, B, D]."""
        codes = None if self.mask_negatives == "none" else batch[self.mask_negatives]
        return Pairs(z[0], z[1], slice(0, z.shape[1]), codes, batch.get("label"))

    def _joined(self, z: Tensor, batch: dict[str, Tensor]) -> Pairs:
        """The pairs of all W processes' projections [2, B, D], with gradients.

        Every process computes its own B clips' share of the loss against all W B, so that its cost grows with W and not its square.
        The gathering hands each projection the sum of the gradients that all W losses have for it, and distributed training averages
        the weights' gradients over processes: the gradient of the losses' mean, which is the loss of the joined batch.
        The processes come in the order of their rank in both views alike, so partners stay partners.
        """
        pairs = self._pairs(z, batch)
        if self.trainer.world_size == 1:
            return pairs
        begin = self.trainer.global_rank * z.shape[1]
        joined = self._gathered(z)
        return Pairs(
            joined[0],
            joined[1],
            slice(begin, begin + z.shape[1]),
            None if pairs.codes is None else self._gathered(pairs.codes),
            None if pairs.labels is None else self._gathered(pairs.labels),
        )

    def _gathered(self, local: Tensor) -> Tensor:
        """``local`` [V, B, ...] of all W processes, [V, W B, ...]."""
        gathered = self.all_gather(local, sync_grads=local.is_floating_point())
        assert isinstance(gathered, Tensor)
        return gathered.movedim(0, 1).flatten(1, 2)

    def _mean_of_processes(self, figures: Tensor) -> Tensor:
        # Not through the logger's sync_dist, which makes the processes wait for each other at every step.
        gathered = self.all_gather(figures) if self.trainer.world_size > 1 else figures.unsqueeze(0)
        assert isinstance(gathered, Tensor)
        return gathered.mean(dim=0)
