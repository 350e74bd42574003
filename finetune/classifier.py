"""The classifier: front end, encoder, head, metadata where asked for, and how they are trained."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from common.augment.base import Augmentation
from common.encoders.base import Encoder
from common.errors import UserError
from common.frontends.base import FrontEnd
from common.progress import say
from common.training.checkpoint import DescribedModule
from common.training.optim import OptimizerName, configure, learning_rate, parameter_groups
from common.training.parts import check_parts
from common.windows import pool_windows
from finetune.encoder_source import front_end_and_encoder
from finetune.frame_head import FrameHead, FramesToLabels
from finetune.head import Head
from finetune.metadata import Metadata
from finetune.mix.base import BatchMix
from finetune.tasks.base import Task
from finetune.training_maps import training_maps
from finetune.unfreezing import GradualUnfreezing, rest_frozen_norms
from finetune.validation_areas import validation_areas

# Of a batch of whole clips, so that a few long recordings do not fill the memory.
WINDOWS_AT_ONCE = 64

# The metric by which the epoch is chosen, see `Classifier.on_validation_epoch_end`.
MONITOR = "val/score"


class Classifier(DescribedModule):
    """Waveforms [B, T] to logits [B, L].

    Logged: ``train/loss``, ``train/loss_step``, ``train/lr``, ``val/loss``, ``val/auroc/<label>``, ``val/macro_auroc`` and ``val/score``.

    Args:
        task: labels with their loss, activation and decoding.
        front_end: waveform to spectrogram; states the sample rate. Left out where ``encoder_file`` is given.
        encoder: spectrogram to embedding. Left out where ``encoder_file`` is given.
        encoder_file: file from ``pretrain``: front end, encoder and the weights to begin with.
        clip_s: length of the windows that the model takes, s. 10 holds three quarters of SPRSound's records whole; 8 would cut all but one.
        hop_s: from one window of a longer clip to the next, s; half of ``clip_s`` by default.
        short_clips: what fills a clip shorter than ``clip_s``: "repeat" (it starts again) or "pad" (zeros).
        aggregate: how a clip's windows are joined: "mean" or "max" of their probabilities.
        mode: "full" trains everything, "linear_probe" the head alone on the encoder as it is.
        dropout: before each linear layer of the head, probability in [0, 1).
        lr: learning rate of the head, after the warm-up.
        weight_decay: of kernels; biases and norms get none.
        layer_decay: learning rate of each depth of the encoder as a share of the next one's, up to 1; lower keeps early layers.
        warmup_epochs: length of the warm-up, epochs.
        optimizer: "adamw", "lars" or "sgd".
        waveform_augmentation: applied to training waveforms.
        spectrogram_augmentation: applied to training spectrograms.
        channels_last: memory layout of the encoder; faster for most networks, the result differs by rounding only.
        head_units: outputs of the head's hidden layers; none by default, which is one linear layer.
        mix: mixes training clips and their targets, see `finetune.mix`.
        unfreeze_epochs: the head learns alone for so many epochs, then one more layer group of the encoder after each so many, from its
            end to its beginning; 0 trains all from the start.
        metadata: columns of the manifest beside the audio; none by default.
        momentum: of "sgd" and "lars", at least 0 and below 1.
        frame_head: a head over the frames of the encoder's map, in place of a linear one on its embedding.

    Raises:
        UserError: no encoder is given, or the config and the encoder file disagree.
        ValueError: a number is out of range.
    """

    def __init__(
        self,
        task: Task,
        front_end: FrontEnd | None = None,
        encoder: Encoder | None = None,
        encoder_file: str | None = None,
        clip_s: float = 10.0,
        hop_s: float | None = None,
        short_clips: Literal["repeat", "pad"] = "repeat",
        aggregate: Literal["mean", "max"] = "mean",
        mode: Literal["full", "linear_probe"] = "full",
        dropout: float = 0.0,
        lr: float = 1e-3,
        weight_decay: float = 0.05,
        layer_decay: float = 1.0,
        warmup_epochs: float = 1.0,
        optimizer: OptimizerName = "adamw",
        waveform_augmentation: Augmentation | None = None,
        spectrogram_augmentation: Augmentation | None = None,
        channels_last: bool = True,
        head_units: tuple[int, ...] = (),
        mix: BatchMix | None = None,
        unfreeze_epochs: int = 0,
        metadata: Metadata | None = None,
        momentum: float = 0.9,
        frame_head: FrameHead | None = None,
    ) -> None:
        super().__init__()
        self.encoder_file = encoder_file
        self.front_end, self.encoder = front_end_and_encoder(front_end, encoder, encoder_file)
        if channels_last:
            self.encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.task = task
        self.clip_s = clip_s
        self.hop_s = clip_s / 2 if hop_s is None else hop_s
        self.short_clips = short_clips
        self.aggregate = aggregate
        self.mode = mode
        self.lr = lr
        self.weight_decay = weight_decay
        self.layer_decay = layer_decay
        self.warmup_epochs = warmup_epochs
        self.optimizer_name = optimizer
        self.momentum = momentum
        self.waveform_augmentation = waveform_augmentation
        self.spectrogram_augmentation = spectrogram_augmentation
        self.mix = mix
        self.unfreeze_epochs = unfreeze_epochs
        self.metadata = metadata
        self.head = self._make_head(frame_head, head_units, dropout)
        self._check()
        self._unfreezing = GradualUnfreezing(self._layers(), unfreeze_epochs) if unfreeze_epochs else None
        if mode == "linear_probe":
            # Lightning keeps the modes that it finds, so the encoder must be in evaluation mode from the start.
            self.encoder.requires_grad_(False).eval()
        self._validated: list[tuple[Tensor, Tensor]] = []
        self._said: set[str] = set()

    @property
    def hop_samples(self) -> int:
        """Samples from one window of a long clip to the next."""
        return max(1, round(self.hop_s * self.front_end.sample_rate))

    def describe(self) -> dict[str, Any]:
        """As `Described.describe`, with front end and encoder in place of the file that they came from: a checkpoint opens without it."""
        description = super().describe()
        parts = {"encoder_file": None, "front_end": self.front_end.describe(), "encoder": self.encoder.describe()}
        description["init_args"] |= parts
        return description

    def train(self, mode: bool = True) -> "Classifier":
        """As ``nn.Module.train``, but a linear probe's encoder stays as it is, the statistics of its batch-norms included."""
        super().train(mode)
        if self.mode == "linear_probe":
            self.encoder.eval()
        elif self._unfreezing is not None and mode:
            rest_frozen_norms(self.encoder)
        return self

    def forward(self, waveform: Tensor, metadata: Tensor | None = None) -> Tensor:
        """Map waveforms [B, T] at ``front_end.sample_rate``, and raw metadata [B, M] where they are known, to logits [B, L]."""
        return self.classify(self.front_end(waveform), metadata)

    def classify(self, spectrogram: Tensor, metadata: Tensor | None = None) -> Tensor:
        """Map spectrograms [B, 1, F, N], and raw metadata [B, M] where they are known, to logits [B, L]."""
        embedding = self.head.embedding(self.encoder, spectrogram)
        if self.metadata is not None:
            embedding = self.metadata.fuse(embedding, metadata)
        return self.head(embedding)

    def clip_probabilities(self, waveform: Tensor, clip: Tensor, num_clips: int, metadata: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Probabilities of whole clips, and the logits of their windows.

        Args:
            waveform: all windows of all clips, [W, T].
            clip: which clip each window is of, int64 [W].
            num_clips: B.
            metadata: raw rows of the clips, [B, M]; None where nothing is known of them.

        Returns:
            Probabilities [B, L] and logits [W, L], float32.

        Raises:
            UserError: a logit is not finite: training diverged, and no later epoch mends that.
        """
        parts = zip(waveform.split(WINDOWS_AT_ONCE), clip.split(WINDOWS_AT_ONCE), strict=True)
        logits = torch.cat([self(part, None if metadata is None else metadata[of]) for part, of in parts]).float()
        if not logits.isfinite().all():
            raise UserError(
                f"The model's outputs are no longer finite: training diverged at model.lr = {self.lr:g}; take a lower one, "
                "set trainer.gradient_clip_val, or train at full precision, in another --out."
            )
        return pool_windows(self.task.probabilities(logits), clip, num_clips, self.aggregate), logits

    def on_fit_start(self) -> None:
        # A run that goes on has them from its checkpoint.
        if isinstance(self.head, FramesToLabels) and self.trainer.ckpt_path is None:
            self.head.measure(training_maps(self, self.trainer.datamodule))  # type: ignore[attr-defined]

    def on_train_start(self) -> None:
        # Here too, since a run that goes on within an epoch does not begin one.
        self.on_train_epoch_start()

    def on_train_epoch_start(self) -> None:
        if self._unfreezing is not None:
            self._unfreezing.apply(self.current_epoch)
            self.train()

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        waveform, target = batch["waveform"], batch["target"]
        with torch.no_grad():
            if self.waveform_augmentation is not None:
                waveform = self.waveform_augmentation(waveform)
            if self.mix is not None and self.mix.domain == "waveform":
                waveform, target = self.mix(waveform, target)
            spectrogram = self.front_end(waveform)
            if self.mix is not None and self.mix.domain == "spectrogram":
                spectrogram, target = self.mix(spectrogram, target)
            if self.spectrogram_augmentation is not None:
                spectrogram = self.spectrogram_augmentation(spectrogram)
        loss = self.task.loss(self.classify(spectrogram, batch.get("metadata")), target)
        self.log("train/loss", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=len(waveform), sync_dist=True)
        self.log("train/loss_step", loss)
        self.log("train/lr", learning_rate(self.trainer))
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        target = batch["target"]
        probabilities, logits = self.clip_probabilities(batch["waveform"], batch["clip"], len(target), batch.get("metadata"))
        self.log("val/loss", self.task.loss(logits, target[batch["clip"]]), batch_size=len(logits), sync_dist=True)
        self._validated.append((probabilities, target))

    def on_validation_epoch_end(self) -> None:
        """Log AUROC per label and ``val/score``, by which the epoch is chosen.

        The score is the mean AUROC of the task's scored labels: of those that have both classes among the validation clips, where
        some have not; where none has, the negative validation loss.
        """
        probabilities, target = (torch.cat(parts) for parts in zip(*self._validated, strict=True))
        self._validated.clear()
        areas = validation_areas(self.task.labels, probabilities, target)
        for label, area in areas.items():
            self.log(f"val/auroc/{label}", area)
        scored = [areas[label] for label in self.task.scored if label in areas]
        if len(scored) == len(self.task.scored):
            self.log("val/macro_auroc", sum(scored) / len(scored))
        else:
            lacking = ", ".join(label for label in self.task.scored if label not in areas)
            chosen = "the AUROC of the others" if scored else "the validation loss"
            self._say_once(f"The validation clips are all of one class in {lacking}: the epoch is chosen by {chosen}.")
        score = sum(scored) / len(scored) if scored else -float(self.trainer.callback_metrics["val/loss"])
        self.log(MONITOR, score, prog_bar=True)

    def configure_optimizers(self) -> Any:
        groups = parameter_groups(self._layers(), self.lr, self.weight_decay, self.layer_decay)
        return configure(self.trainer, self.optimizer_name, groups, self.warmup_epochs, self.momentum)

    def _make_head(self, frames: FrameHead | None, units: tuple[int, ...], dropout: float) -> Head | FramesToLabels:
        if frames is None:
            features = self.encoder.num_features + (self.metadata.units if self.metadata is not None else 0)
            return Head(features, len(self.task.labels), units, dropout)
        if self.metadata is not None or units or dropout:
            raise UserError(
                "model.frame_head has layers and dropout of its own and takes no metadata: leave out model.head_units, model.dropout and "
                "model.metadata, or it."
            )
        return frames.make(self.encoder.num_features, len(self.task.labels))

    def _layers(self) -> list[list[nn.Parameter]]:
        """Parameters in groups of like depth, from input to output."""
        beside = [] if self.metadata is None else list(self.metadata.parameters())
        return [list(self.front_end.parameters()), *self.encoder.layer_groups(), [*beside, *self.head.parameters()]]

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            say(text)

    def _check(self) -> None:
        check_parts(self.front_end, self.encoder, self.clip_s, self.waveform_augmentation, self.spectrogram_augmentation)
        if self.task.one_of and self.aggregate == "max":
            raise UserError(
                "model.aggregate is 'max', after which the probabilities of classes that exclude each other do not sum to 1: take 'mean'."
            )
        if self.metadata is not None:
            self.metadata.check_labels([*self.task.labels, *self.task.label_columns, *self.task.class_columns])
            if self.mix is not None:
                raise UserError("model.mix joins the sounds of two clips but not their metadata: leave out model.mix or model.metadata.")
        if not 0 < self.hop_s <= self.clip_s:
            raise ValueError(f"model.hop_s is {self.hop_s:g} s, expected more than 0 and up to clip_s = {self.clip_s:g} s")
        if self.unfreeze_epochs and self.mode == "linear_probe":
            raise ValueError("model.unfreeze_epochs thaws the encoder, which model.mode linear_probe never trains: take one of the two")
        for name, value, low, high in (
            ("unfreeze_epochs", self.unfreeze_epochs, 0, float("inf")),
            ("layer_decay", self.layer_decay, 1e-6, 1.0),
            ("lr", self.lr, 1e-12, float("inf")),
            ("weight_decay", self.weight_decay, 0.0, float("inf")),
            ("warmup_epochs", self.warmup_epochs, 0.0, float("inf")),
            ("momentum", self.momentum, 0.0, 1 - 1e-6),
        ):
            if not low <= value <= high:
                raise ValueError(f"model.{name} is {value:g}, expected {low:g} to {high:g}")
