"""Clips of a run as a file at the model's rate takes them: some to calibrate by, others to judge by."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from common.audio.clip import read_clip
from common.errors import UserError
from finetune.evaluation.out_of_fold import OutOfFold
from finetune.folds.table import HELD_OUT, TRAIN
from finetune.metadata import Metadata
from finetune.run_folder import RunFolder

Inputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class RunClips:
    """Where the clips of a run are, and how they are drawn.

    Attributes:
        run: the run.
        table: its manifest.
        sample_rate: of the model, Hz.
        metadata: what the model takes beside the audio; None where nothing.
        seed: of what is drawn.
    """

    run: RunFolder
    table: pd.DataFrame
    sample_rate: int
    metadata: Metadata | None
    seed: int = 0

    def inputs(self, clip_ids: list[str]) -> Iterator[Inputs]:
        """The inputs of `model.onnx` for each clip, one row.

        Raises:
            UserError: a recording does not open.
        """
        rows = self.table.set_index("clip_id").loc[clip_ids].reset_index()
        known = None if self.metadata is None else self.metadata.raw(rows, "the run's manifest").numpy()
        for number, row in enumerate(rows.to_dict("records")):
            end_s = None if pd.isna(row["end_s"]) else row["end_s"]
            waveform = read_clip(row["path"], self.sample_rate, row["start_s"], end_s)[np.newaxis]
            given = {"waveform": waveform, "lengths": np.array([waveform.shape[1]])}
            yield given if known is None else {**given, "metadata": known[number : number + 1]}

    def training(self, folds: list[int], clips: int) -> list[str]:
        """Up to ``clips`` that the networks of ``folds`` were trained on; of one fold none that it holds out.

        Raises:
            UserError: there is none.
        """
        columns = self.run.role_columns()
        seen = np.any([self.run.folds[columns[fold]] == TRAIN for fold in folds], axis=0)
        known = sorted(set(self.run.folds["clip_id"][seen]) & set(self.table["clip_id"]))
        if not known:
            raise UserError(f"The manifest of {self.run.path} has none of the clips that its networks were trained on.")
        return list(np.random.default_rng(self.seed).permutation(known)[:clips])

    def held_out(self, predictions: OutOfFold, clips: int) -> OutOfFold:
        """The rows of up to ``clips`` annotated clips, each held out by its ``fold``.

        Raises:
            UserError: the run's folds say otherwise of a clip, or the manifest lacks it.
        """
        annotated = np.flatnonzero(predictions.annotated)
        chosen = predictions.take(np.sort(np.random.default_rng(self.seed).permutation(annotated)[:clips]))
        roles, columns = self.run.folds.set_index("clip_id"), self.run.role_columns()
        known = set(self.table["clip_id"])
        for clip, fold in zip(chosen.table["clip_id"], chosen.fold, strict=True):
            if clip not in known or roles[columns[int(fold)]][clip] != HELD_OUT:
                raise UserError(f"Clip {clip!r} is not in the run's manifest, or fold {fold} does not hold it out: run crossval again.")
        return chosen
