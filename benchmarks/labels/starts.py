"""The four starts that the curve compares: with or without AudioSet weights, with or without SimCLR on the unlabelled training patients."""

from dataclasses import dataclass
from pathlib import Path

# What random weights take, of pretraining and of fine-tuning: see the remarks in both configs. Weights that know something already
# are changed less, by the configs' own lower rates.
SCRATCH_LR = 1e-3


@dataclass(frozen=True)
class Start:
    """Where fine-tuning starts.

    Attributes:
        name: in folders and tables.
        title: for people.
        audioset: the first weights are those of AudioSet, else random.
        simclr: then it is pretrained on all training patients, without labels.
    """

    name: str
    title: str
    audioset: bool
    simclr: bool

    def pretrain_options(self, weights: Path) -> list[object]:
        """Options of ``pretrain fit``."""
        return [*self._weights(weights), *([] if self.audioset else ["--model.lr", SCRATCH_LR])]

    def finetune_options(self, weights: Path, encoder: Path | None) -> list[object]:
        """Options of ``finetune fit``; ``encoder`` is the file that pretraining wrote, where this start has any."""
        if encoder is not None:
            return ["--model.front_end", "null", "--model.encoder", "null", "--model.encoder_file", encoder]
        return [*self._weights(weights), *([] if self.audioset else ["--model.lr", SCRATCH_LR, "--model.layer_decay", 1.0])]

    def _weights(self, weights: Path) -> list[object]:
        return ["--model.encoder.init_args.weights", weights if self.audioset else "null"]


STARTS = (
    Start("scratch", "scratch", audioset=False, simclr=False),
    Start("simclr", "SimCLR", audioset=False, simclr=True),
    Start("audioset", "AudioSet", audioset=True, simclr=False),
    Start("audioset_simclr", "AudioSet + SimCLR", audioset=True, simclr=True),
)
