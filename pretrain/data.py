"""Crops of unlabelled clips for contrastive learning."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from common.errors import UserError
from common.manifest import groups, read_manifest
from common.progress import say
from common.training.batches import BatchSampler, global_seed, loader
from common.training.clip_data import ClipData
from pretrain.partners import Partners
from pretrain.patients import chosen, held_out, without


@dataclass(frozen=True)
class ProbeClips:
    """Labelled clips on which an encoder is probed, of patients that it never saw.

    Attributes:
        table: manifest of the clips, index 0 to n-1.
        rows: their rows in the data module's table, int64 [n].
        trained: bool [n]: whether the probe is trained on a clip (else tested); a patient is on one side only.
        labels: label columns of ``table``.
    """

    table: pd.DataFrame
    rows: Tensor
    trained: Tensor
    labels: tuple[str, ...]


class PretrainData(ClipData):
    """Crops of unlabelled clips: training clips, and the clips of a few patients for the validation loss.

    Patients are told apart by the manifest's ``patient`` or, where it is empty, by ``recording``. Which of them go to validation
    or to the probe depends on their names only, so it is the same in every run on the same data.

    With ``exclude_folds`` and ``exclude_fold`` no recording of the held-out patients of that fold is read. The fold's own
    validation patients, which fine-tuning stops on, may be seen: only their sound is used here, not their labels, and the
    figures come from the held-out patients alone.

    Args:
        manifest: CSV or Parquet file from ``common manifest`` or ``common audit``; labels are not read but those of ``labels``.
        store: folder of the waveform store; ``store`` beside the manifest by default. What it lacks is decoded at first use.
        batch_size: clips per batch and process; each clip gives two views.
        on_device: keep all waveforms in the accelerator's memory: "auto" where they fit, "always" or "never".
        validation_share: share of the patients kept for the validation loss, 0 (none) to 0.5.
        exclude_folds: folds.csv of ``finetune folds``.
        exclude_fold: fold of it whose held-out patients are never seen.
        labels: label columns for an objective that is supervised (SupCon); none by default. Labels of patients that are held out or
            probed are left out with their clips. Those of the fold's validation patients are used like all others, so choose
            by other figures than theirs. The encoder file says which labels were used.
        probe_manifest: manifest of labelled clips, whose patients are kept out of pretraining and probed.
        probe_labels: label columns of the probe manifest to probe.
        probe_share: share of the probe manifest's patients that are taken, above 0 to 1; below 1 where pretraining uses
            the same manifest.
        probe_every_epochs: epochs between probes; the last epoch is always probed.
    """

    def __init__(
        self,
        manifest: str,
        store: str | None = None,
        batch_size: int = 64,
        on_device: str = "auto",
        validation_share: float = 0.1,
        exclude_folds: str | None = None,
        exclude_fold: int | None = None,
        labels: Sequence[str] = (),
        probe_manifest: str | None = None,
        probe_labels: Sequence[str] = ("normal", "wheeze", "crackle"),
        probe_share: float = 1.0,
        probe_every_epochs: int = 1,
    ) -> None:
        super().__init__(manifest, store, batch_size, on_device)
        if not 0 <= validation_share <= 0.5:
            raise UserError(f"data.validation_share is {validation_share}, expected a share of the patients from 0 to 0.5.")
        if not 0 < probe_share <= 1:
            raise UserError(f"data.probe_share is {probe_share}, expected a share of the patients above 0, at most 1.")
        if probe_every_epochs < 1:
            raise UserError(f"data.probe_every_epochs is {probe_every_epochs}, expected at least 1.")
        if (exclude_folds is None) != (exclude_fold is None):
            raise UserError("data.exclude_folds (a folds.csv) and data.exclude_fold (a fold's number) go together: give both or none.")
        self.validation_share = validation_share
        self.exclude_folds = exclude_folds
        self.exclude_fold = exclude_fold
        self.labels = tuple(labels)
        self.probe_manifest = probe_manifest
        self.probe_labels = tuple(probe_labels)
        self.probe_share = probe_share
        self.probe_every_epochs = probe_every_epochs
        self.probe: ProbeClips | None = None

    def setup(self, stage: str) -> None:
        """Read the manifests, part the patients and open the store."""
        self._check_labels()
        train, validation, probe = self.parts()
        self.num_train, self.num_validation = len(train), len(validation)
        self.open_store(pd.concat([train, validation, *([] if probe is None else [probe])], ignore_index=True))
        self.codes = self._codes()
        self.partners = self._partners() if self.model.pairs_recordings else None
        if probe is not None:
            self.probe = self._probe_clips(probe)
        self._say_who()

    def parts(self) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame | None]:
        """Manifests of the clips to train on, of those for validation, and of those to probe (None without a probe)."""
        seen = self._without_held_out(self.read(self.labels))
        probe = self._read_probe()
        if probe is not None:
            probe = self._without_held_out(probe)
            seen = without(seen, probe)
            if seen.empty:
                raise UserError(
                    f"Every patient of {self.manifest_path} is in the probe manifest {self.probe_manifest} too, so that nobody is left "
                    "to pretrain on: probe other patients, or a part of them with data.probe_share."
                )
        train, validation = self._split(seen)
        if len(train) < 2:
            raise UserError(f"{self.manifest_path} leaves {len(train)} clips to pretrain on: expected at least 2, better hundreds.")
        return train, validation, probe

    @property
    def seen(self) -> pd.DataFrame:
        """Clips that the encoder saw: those trained on, and those of validation, by which a person may choose settings."""
        return self.table.iloc[: self.num_train + self.num_validation]

    @property
    def patients(self) -> list[str]:
        """Named patients that the encoder saw."""
        return sorted(set(self.seen["patient"]) - {""})

    @property
    def recordings(self) -> list[str]:
        """Recordings that the encoder saw."""
        return sorted(set(self.seen["recording"]))

    @property
    def hours(self) -> float:
        """Hours of the clips that the encoder saw."""
        return round(int(self.clips.length[: len(self.seen)].sum()) / self.store.sample_rate / 3600, 4)

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        assert self.trainer is not None
        rank, world_size = self.trainer.global_rank, self.trainer.world_size
        return loader(BatchSampler(self.num_train, self.batch_size, self._draws, seed=global_seed(), rank=rank, world_size=world_size))

    def val_dataloader(self) -> list[DataLoader[dict[str, Tensor]]]:
        """The same crops in every epoch. Each process goes through all of them: they are few, and their figures need them together."""
        if not self.num_validation:
            return []
        return [loader(BatchSampler(self.num_validation, self.batch_size, self._draws, shuffle=False))]

    def on_after_batch_transfer(self, batch: dict[str, Tensor], dataloader_idx: int) -> dict[str, Tensor]:
        """Read the crops of a batch of row numbers, on the device.

        Returns:
            ``crops``: waveforms [V, B, T], V crops of each clip as the module wants; ``recording`` and ``patient``: int64 [V, B], equal
            for crops of one recording, of one patient (or recording where no patient is named); with ``labels`` also ``label``:
            int64 [V, B], equal for equal labels, -1 where one of them is not annotated. ``row``: int64
            [V, B], the rows of `table` that the crops are of.
        """
        assert self.trainer is not None
        device = batch["row"].device
        self.to_device(device)
        self.codes = {name: code.to(device) for name, code in self.codes.items()}
        rows = [batch["row"] if self.trainer.training else batch["row"] + self.num_train] * self.model.crops_per_clip
        if self.partners is not None:
            self.partners = self.partners.to(device)
            rows[1] = self.partners.draw(rows[0], batch["draw"][:, 2])
        crops = [self.random_crops(each, batch["draw"][:, view]) for view, each in enumerate(rows)]
        of_views = torch.stack(rows)
        return {"crops": torch.stack(crops), "row": of_views, **{name: code[of_views] for name, code in self.codes.items()}}

    @property
    def _draws(self) -> int:
        """Numbers drawn per clip: the place of each crop, and the second recording where there is one to choose."""
        return 3 if self.model.pairs_recordings else 2

    def _check_labels(self) -> None:
        objective = self.model.objective
        name = type(objective).__name__
        if objective.uses_labels and not self.labels:
            raise UserError(f"The objective {name} needs labels: set data.labels to label columns of the manifest.")
        if self.labels and not objective.uses_labels:
            raise UserError(f"data.labels is {list(self.labels)}, but the objective {name} uses no labels: leave them out, or take SupCon.")

    def _codes(self) -> dict[str, Tensor]:
        """For each row of the table whole numbers, int64 [n], that are equal where recording, patient or labels are."""
        codes = {"recording": pd.factorize(self.table["recording"])[0], "patient": pd.factorize(groups(self.table))[0]}
        if self.labels:
            # Whole or not at all: of clips that are half annotated nobody knows whether they are alike.
            values = self.table[list(self.labels)].to_numpy(dtype=float)
            known = ~np.isnan(values).any(axis=1)
            if not known[: self.num_train].any():
                raise UserError(
                    f"{self.manifest_path} annotates no clip that is trained on with all of data.labels, {list(self.labels)}: "
                    "choose labels that it annotates."
                )
            codes["label"] = np.where(known, np.unique(values, axis=0, return_inverse=True)[1].reshape(-1), -1)
        return {name: torch.from_numpy(code.astype(np.int64)) for name, code in codes.items()}

    def _partners(self) -> Partners:
        partners = Partners.of(self.table)
        paired = int((partners.others[: self.num_train] > 0).sum())
        if not paired:
            raise UserError(
                f"{self.manifest_path} has no patient with two recordings at one site (columns patient, site, recording), which "
                "model.views two_recordings needs: take two_crops."
            )
        say(f"{paired} of {self.num_train} clips have a second recording of their patient and site; the others give two crops.")
        return partners

    def _without_held_out(self, table: pd.DataFrame) -> pd.DataFrame:
        if self.exclude_folds is None:
            return table
        assert self.exclude_fold is not None
        left = without(table, held_out(self.exclude_folds, self.exclude_fold))
        if left.empty:
            raise UserError(
                f"Fold {self.exclude_fold} of {self.exclude_folds} holds out every patient of the manifest: nobody is left to pretrain on."
            )
        return left

    def _read_probe(self) -> pd.DataFrame | None:
        if self.probe_manifest is None:
            return None
        table = read_manifest(self.probe_manifest, self.probe_labels)
        table = table[table["quality"] != "poor"]
        return table[chosen(groups(table), self.probe_share, "probe")]

    def _split(self, table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        if not self.validation_share:
            return table, table.iloc[:0]
        group = groups(table)
        if group.nunique() < 2:
            raise UserError(f"{self.manifest_path} has one patient to pretrain on, none for validation: set data.validation_share to 0.")
        taken = chosen(group, self.validation_share, "validation")
        return table[~taken], table[taken]

    def _probe_clips(self, table: pd.DataFrame) -> ProbeClips:
        table = table.reset_index(drop=True)
        trained = torch.from_numpy(chosen(groups(table), 0.5, "probe halves").to_numpy())
        rows = torch.arange(len(table)) + self.num_train + self.num_validation
        return ProbeClips(table, rows, trained, self.probe_labels)

    def _say_who(self) -> None:
        train, validation = self.seen.iloc[: self.num_train], self.seen.iloc[self.num_train :]
        unit = "patients" if (self.seen["patient"] != "").all() else "patients or recordings"
        say(
            f"Pretraining on {len(train)} clips of {groups(train).nunique()} {unit}; "
            f"validation on {len(validation)} clips of {groups(validation).nunique()} others."
        )
        if self.labels:
            annotated = int((self.codes["label"][: self.num_train] >= 0).sum())
            say(f"Labels are used ({', '.join(self.labels)}): {annotated} of {len(train)} clips to train on have all of them.")
