"""Who is seen: patients of validation, probe and held-out folds stay apart, also where patients are not named."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import pytorch_lightning as pl
import torch

from common.encoders.cnn import Cnn2d
from common.errors import UserError
from common.files import write_csv
from common.frontends.log_mel import LogMel
from common.manifest import read_manifest, write_manifest
from pretrain.data import PretrainData
from pretrain.patients import chosen, without
from pretrain.simclr import SimCLR


def prepared(manifest: Path, views: Any = "two_crops", **arguments: Any) -> PretrainData:
    data = PretrainData(str(manifest), **{"batch_size": 4, **arguments})
    model = SimCLR(LogMel(num_mels=16), Cnn2d(channels=[4, 8]), clip_s=0.5, views=views)
    data.trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    data.trainer.strategy.connect(model)
    data.setup("fit")
    return data


def parts(data: PretrainData) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    train, rest = data.table.iloc[: data.num_train], data.table.iloc[data.num_train :]
    return train, rest.iloc[: data.num_validation], rest.iloc[data.num_validation :]


def test_validation_patients_are_others_and_always_the_same(made: Path, tmp_path: Path) -> None:
    train, validation, _ = parts(prepared(made / "manifest.csv", validation_share=0.25))
    assert validation["patient"].nunique() == 2 and train["patient"].nunique() == 6
    assert not set(train["patient"]) & set(validation["patient"])
    shuffled = read_manifest(made / "manifest.csv").sample(frac=1, random_state=0)
    write_manifest(tmp_path / "manifest.csv", shuffled)
    again = parts(prepared(tmp_path / "manifest.csv", validation_share=0.25, store=str(made / "store")))[1]
    assert set(again["patient"]) == set(validation["patient"])


def test_no_validation(made: Path) -> None:
    data = prepared(made / "manifest.csv", validation_share=0.0)
    assert data.num_train == 24 and data.val_dataloader() == []


@pytest.mark.parametrize("fold", [0, 1])
def test_held_out_patients_of_the_fold_are_never_seen(made: Path, fold: int) -> None:
    folds = pd.read_csv(made / "folds.csv")
    held_out = set(folds[folds["fold"] == fold]["patient"])
    data = prepared(made / "manifest.csv", exclude_folds=str(made / "folds.csv"), exclude_fold=fold)
    assert len(held_out) == 4
    assert not held_out & set(data.table["patient"])
    assert set(data.patients) == set(folds["patient"]) - held_out
    assert set(data.recordings) == set(folds[folds["fold"] != fold]["recording"])


def test_recordings_stand_for_patients_where_none_are_named(made: Path, tmp_path: Path) -> None:
    manifest = read_manifest(made / "manifest.csv").assign(patient="")
    write_manifest(tmp_path / "manifest.csv", manifest)
    folds = pd.read_csv(made / "folds.csv").assign(patient="")
    write_csv(tmp_path / "folds.csv", folds)
    data = prepared(tmp_path / "manifest.csv", exclude_folds=str(tmp_path / "folds.csv"), exclude_fold=1, store=str(made / "store"))
    assert data.patients == []
    assert set(data.recordings) == set(folds[folds["fold"] == 0]["recording"])


def test_a_patient_held_out_by_name_takes_other_recordings_along(made: Path, tmp_path: Path) -> None:
    folds = pd.read_csv(made / "folds.csv")
    write_csv(tmp_path / "folds.csv", folds.drop_duplicates("patient"))
    data = prepared(made / "manifest.csv", exclude_folds=str(tmp_path / "folds.csv"), exclude_fold=0)
    assert not set(data.table["patient"]) & set(folds[folds["fold"] == 0]["patient"])


def test_probe_patients_are_kept_out_and_divided(made: Path) -> None:
    data = prepared(made / "manifest.csv", probe_manifest=str(made / "manifest.csv"), probe_share=0.5)
    train, validation, probed = parts(data)
    assert data.probe is not None
    assert data.table.iloc[data.probe.rows.tolist()]["clip_id"].tolist() == data.probe.table["clip_id"].tolist()
    assert probed["patient"].nunique() == 4
    assert not set(probed["patient"]) & {*train["patient"], *validation["patient"]}
    assert not set(probed["patient"]) & set(data.patients)
    trained = data.probe.trained.numpy()
    assert not set(probed["patient"][trained]) & set(probed["patient"][~trained])
    assert 0 < trained.sum() < len(trained)


def test_batches_hold_crops_of_the_clips(made: Path) -> None:
    data = prepared(made / "manifest.csv", validation_share=0.25)
    assert data.trainer is not None
    data.trainer.training = True
    (batch, *others) = data.train_dataloader()
    assert len(others) == 18 // 4 - 1
    read = data.on_after_batch_transfer(batch, 0)
    assert read["crops"].shape == (2, 4, 2000) and read["recording"].tolist() == [batch["row"].tolist()] * 2
    assert set(read) == {"crops", "recording", "patient", "row"} and torch.equal(read["row"], batch["row"].expand(2, -1))
    assert read["patient"].unique().numel() <= 4
    clips = data.store.read(data.clips[batch["row"]], torch.zeros(4, dtype=torch.int64), 3600)
    for view in range(2):
        first = (batch["draw"][:, view] * 1601).long()
        for row in range(4):
            assert torch.equal(read["crops"][view, row], clips[row, first[row] : first[row] + 2000])
    data.trainer.training = False
    (loader,) = data.val_dataloader()
    validated = [data.on_after_batch_transfer(each, 0) for each in loader]
    assert torch.cat([each["recording"][0] for each in validated]).tolist() == list(range(18, 24))


def test_the_same_crop_is_read_once(made: Path) -> None:
    data = prepared(made / "manifest.csv", views="same_crop")
    assert data.trainer is not None
    data.trainer.training = True
    assert data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)["crops"].shape == (1, 4, 2000)


def test_chosen_groups_take_all_their_rows_and_differ_by_purpose() -> None:
    group = pd.Series([f"patient:{number // 3}" for number in range(300)])
    taken = chosen(group, 0.2, "validation")
    assert taken.sum() == 60
    assert taken.groupby(group).nunique().eq(1).all()
    assert not taken.equals(chosen(group, 0.2, "probe"))
    assert chosen(group.iloc[:6], 0.01, "validation").sum() == 3
    assert chosen(group.iloc[:6], 0.99, "validation").sum() == 3
    assert chosen(group, 1.0, "probe").all()


def test_without_ignores_patients_that_are_not_named() -> None:
    table = pd.DataFrame({"patient": ["", "", "a", "b"], "recording": ["r1", "r2", "r3", "r4"]})
    left = without(table, pd.DataFrame({"patient": ["", "b"], "recording": ["r2", "r9"]}))
    assert left["recording"].tolist() == ["r1", "r3"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"validation_share": 0.7}, "data.validation_share is 0.7"),
        ({"probe_share": 0.0}, "data.probe_share is 0.0"),
        ({"probe_every_epochs": 0}, "data.probe_every_epochs is 0"),
        ({"exclude_fold": 1}, "go together"),
        ({"exclude_folds": "{made}/folds.csv", "exclude_fold": 5}, "has no fold 5: expected one of 0, 1"),
        ({"exclude_folds": "{made}/train.csv", "exclude_fold": 0}, "has no column 'recording'"),
        ({"exclude_folds": "{made}/none.csv", "exclude_fold": 0}, "No table at"),
        ({"probe_manifest": "{made}/manifest.csv"}, "nobody is left to pretrain on"),
        ({"probe_manifest": "{made}/manifest.csv", "probe_labels": ("stridor",)}, "has no label column 'stridor'"),
    ],
)
def test_mistakes_are_named(made: Path, arguments: dict[str, Any], message: str) -> None:
    filled = {name: value.format(made=made) if isinstance(value, str) else value for name, value in arguments.items()}
    with pytest.raises(UserError, match=message):
        prepared(made / "manifest.csv", **filled)


def test_one_patient_cannot_be_divided(made: Path, tmp_path: Path) -> None:
    write_manifest(tmp_path / "manifest.csv", read_manifest(made / "manifest.csv").assign(patient="a"))
    with pytest.raises(UserError, match=r"set data\.validation_share to 0"):
        prepared(tmp_path / "manifest.csv", store=str(made / "store"))
