"""A second recording of the same patient and site: who may be whose partner, how often, and what a batch holds then."""

from pathlib import Path

import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from common.encoders.cnn import Cnn2d
from common.frontends.log_mel import LogMel
from common.manifest import read_manifest, write_manifest
from pretrain.data import PretrainData
from pretrain.partners import Partners
from pretrain.simclr import SimCLR


def allowed(table: pd.DataFrame, row: int) -> set[int]:
    """Rows that may be the partner of ``row``, by the words of the definition."""
    own = table.iloc[row]
    if not own["patient"] or not own["site"]:
        return {row}
    same = (table["patient"] == own["patient"]) & (table["site"] == own["site"]) & (table["recording"] != own["recording"])
    return set(same.to_numpy().nonzero()[0].tolist()) or {row}


rows_of_a_table = st.lists(
    st.tuples(st.sampled_from(["", "a", "b"]), st.sampled_from(["", "left", "right"]), st.sampled_from(["r1", "r2", "r3", "r4"])),
    min_size=1,
    max_size=20,
)


@settings(deadline=None, max_examples=150)
@given(rows_of_a_table)
def test_every_partner_is_drawn_and_no_other(rows: list[tuple[str, str, str]]) -> None:
    table = pd.DataFrame(rows, columns=["patient", "site", "recording"])
    partners = Partners.of(table)
    # One draw for each twentieth, its ends included: no group has more clips.
    draws = torch.linspace(0, 1, 401)
    every = torch.arange(len(table))
    drawn = partners.draw(every.repeat_interleave(401), draws.repeat(len(table))).view(-1, 401)
    for row in range(len(table)):
        assert set(drawn[row].tolist()) == allowed(table, row)
        assert partners.others[row] == len(allowed(table, row) - {row})


def test_partners_are_equally_likely() -> None:
    table = pd.DataFrame({"patient": "a", "site": "left", "recording": ["r2", "r1", "r1", "r2", "r3", "r3", "r3"]})
    draws = torch.rand(30000, generator=torch.Generator().manual_seed(0))
    counts = torch.bincount(Partners.of(table).draw(torch.full((30000,), 1), draws), minlength=7)
    assert counts[[1, 2]].sum() == 0
    assert counts[[0, 3, 4, 5, 6]].float() / 30000 == pytest.approx(torch.full((5,), 0.2), abs=0.01)


@pytest.fixture
def two_sites(made: Path, tmp_path: Path) -> Path:
    """The made patients: of each one's three recordings two are of one site, the third of another."""
    table = read_manifest(made / "manifest.csv")
    table["site"] = ["left" if number % 3 else "right" for number in range(len(table))]
    write_manifest(tmp_path / "manifest.csv", table)
    return tmp_path / "manifest.csv"


def prepared(manifest: Path, made: Path) -> PretrainData:
    data = PretrainData(str(manifest), str(made / "store"), batch_size=4, validation_share=0.25)
    model = SimCLR(LogMel(num_mels=16), Cnn2d(channels=[4, 8]), clip_s=0.5, views="two_recordings")
    data.trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    data.trainer.strategy.connect(model)
    data.setup("fit")
    return data


def read_epoch(data: PretrainData, training: bool) -> list[tuple[dict[str, Tensor], dict[str, Tensor]]]:
    assert data.trainer is not None
    data.trainer.training = training
    loader = data.train_dataloader() if training else data.val_dataloader()[0]
    return [(batch, data.on_after_batch_transfer(batch, 0)) for batch in loader]


@pytest.mark.parametrize("training", [True, False])
def test_views_are_two_recordings_of_one_patient_and_site(two_sites: Path, made: Path, training: bool) -> None:
    data = prepared(two_sites, made)
    names = pd.factorize(data.table["recording"])[1]
    for batch, read in read_epoch(data, training):
        for position, row in enumerate((batch["row"] + (0 if training else data.num_train)).tolist()):
            first, second = (data.table[data.table["recording"] == names[code]].iloc[0] for code in read["recording"][:, position].tolist())
            assert first["clip_id"] == data.table.iloc[row]["clip_id"]
            assert (first["patient"], first["site"]) == (second["patient"], second["site"])
            # The recording at the other site is alone there.
            assert (first["recording"] != second["recording"]) == (first["site"] == "left")
            assert read["patient"][0, position] == read["patient"][1, position]
            length = int(data.clips.length[data.table.index[data.table["recording"] == second["recording"]]][0])
            start = int(batch["draw"][position, 1] * (length - 2000 + 1))
            clip = data.store.read(data.clips[torch.tensor([second.name])], torch.zeros(1, dtype=torch.int64), length)
            assert torch.equal(read["crops"][1, position], clip[0, start : start + 2000])


def test_the_same_epoch_draws_the_same_partners(two_sites: Path, made: Path) -> None:
    first, again = (read_epoch(prepared(two_sites, made), True) for _ in range(2))
    for (_, one), (_, other) in zip(first, again, strict=True):
        assert torch.equal(one["crops"], other["crops"]) and torch.equal(one["recording"], other["recording"])
