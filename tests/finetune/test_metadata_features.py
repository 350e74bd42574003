"""Columns become features: what the documentation says, from the training clips alone, missing or new."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from made_metadata import LABELS, arguments, stream, write_told
from refusals import refusal

from common.described import build
from common.errors import UserError
from common.manifest import read_manifest
from common.training.checkpoint import open_module
from finetune.__main__ import main
from finetune.classifier import Classifier
from finetune.metadata import Metadata


@pytest.fixture(scope="module")
def told(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_told(tmp_path_factory.mktemp("told"), made)


@pytest.mark.parametrize("role", ["held_out", "validation"])
def test_rows_that_are_not_trained_on_change_nothing(told: Path, tmp_path: Path, role: str) -> None:
    """The statistics with wild values in all other rows are those without."""
    states = []
    for name, wild in (("as it is", False), ("wild", True)):
        table = read_manifest(told / "manifest.csv", LABELS)
        other = (pd.read_csv(told / "folds.csv")["role_0"] == role).to_numpy()
        if wild:
            table["bmi"] = table["bmi"].mask(other, 1e6)
            table["ward"] = table["ward"].mask(other, "a ward of which training has nothing")
        table.to_csv(tmp_path / f"{name}.csv", index=False)
        out = tmp_path / name
        main(arguments(told, "fit", out, "--trainer.max_epochs", "1", "--data.fold", "0", manifest=tmp_path / f"{name}.csv"))
        metadata = open_module(out / "best.ckpt", Classifier).metadata
        assert metadata is not None
        states.append((metadata.describe(), {key: value.tolist() for key, value in metadata.state_dict().items()}))
    assert states[0] == states[1]


def test_a_row_becomes_what_the_documentation_says() -> None:
    """Worked by hand: ages 2, 4 and 12 have median 4, mean 6 and variance (16 + 4 + 36) / 3."""
    metadata = Metadata(["age"], ["sex"])
    metadata.fit(pd.DataFrame({"age": [2, None, 4, 12], "sex": ["M", "F", "", "F"]}), "made")
    deviation = np.sqrt(56 / 3)
    rows = metadata.raw(pd.DataFrame({"age": [12, None], "sex": ["F", "X"]}), "new")
    assert rows[0].tolist() == [12.0, 0.0] and rows[1].isnan().all()
    expected = [[6 / deviation, 0, 0, 1, 0], [(4 - 6) / deviation, 1, 1, 0, 0]]
    np.testing.assert_allclose(metadata.encode(rows), expected, rtol=1e-6)
    # A code beyond the vocabulary is unknown, and infinity is missing.
    np.testing.assert_allclose(metadata.encode(torch.tensor([[torch.inf, 7.0]])), expected[1:], rtol=1e-6)


def test_a_number_is_the_same_category_whether_or_not_others_are_missing() -> None:
    metadata = Metadata(categories=["grade"])
    metadata.fit(pd.DataFrame({"grade": [1, 2, None]}), "made")
    assert metadata.vocabularies == {"grade": ["1", "2"]}
    assert (
        metadata.raw(pd.DataFrame({"grade": [2, 1]}), "new").tolist() == metadata.raw(pd.DataFrame({"grade": ["2", "1"]}), "new").tolist()
    )


def test_categories_that_are_given_no_vocabulary_learn_theirs() -> None:
    metadata = Metadata(["age"], ["sex", "ward"], vocabularies={"ward": ["north", "south", "west"]})
    metadata.fit(pd.DataFrame({"age": [2, 4], "sex": ["M", "F"], "ward": ["north", "east"]}), "made")
    assert metadata.vocabularies == {"sex": ["F", "M"], "ward": ["north", "south", "west"]}
    rows = metadata.raw(pd.DataFrame({"age": [3], "sex": ["M"], "ward": ["west"]}), "new")
    assert metadata.encode(rows).tolist() == [[0, 0, 0, 0, 1, 0, 0, 0, 1]]
    # What a checkpoint keeps opens without the training clips.
    again = build(metadata.describe(), Metadata)
    again.load_state_dict(metadata.state_dict())
    torch.testing.assert_close(again.eval()(rows), metadata.eval()(rows))
    with pytest.raises(UserError, match="one or more values for each column that is named"):
        Metadata(["age"], ["sex", "ward"], vocabularies={"ward": []})


def test_as_many_rows_and_values_are_withheld_as_asked() -> None:
    raw = torch.tensor([[4.0, 1.0]]).repeat(200_000, 1)
    torch.manual_seed(0)
    seen: list[torch.Tensor] = []
    for settings, rows, values in (({"modality_dropout": 0.3, "column_dropout": 0.0}, 0.3, 0.3), ({"modality_dropout": 0.0}, 0.01, 0.1)):
        metadata = stream(**settings)
        metadata.layers.register_forward_hook(lambda _, given, __: seen.append(given[0]))
        metadata.train()(raw)
        # Of the features the second is the flag of the age, the third "unknown".
        missing = seen[-1][:, 1:3] == 1
        assert missing.all(dim=1).float().mean() == pytest.approx(rows, abs=0.01)
        assert missing.float().mean() == pytest.approx(values, abs=0.01)
        metadata.eval()(raw)
        assert not (seen[-1][:, 1:3] == 1).any()


def test_mistakes_end_in_one_sentence_and_leave_nothing(told: Path, tmp_path: Path, capsys: Any) -> None:
    table = read_manifest(told / "manifest.csv")
    table.assign(bmi=None).to_csv(tmp_path / "empty.csv", index=False)
    table.drop(columns="ward").to_csv(tmp_path / "lacking.csv", index=False)
    table.assign(bmi=["22"] * 3 + ["stout"] + ["22"] * (len(table) - 4)).to_csv(tmp_path / "text.csv", index=False)
    training = pd.read_csv(told / "folds.csv")["role_0"] == "train"
    table.assign(bmi=table["bmi"].mask(training)).to_csv(tmp_path / "untrained.csv", index=False)
    name = "--model.metadata.init_args"
    out = tmp_path / "run"
    for command, manifest, options, said in (
        ("crossval", "empty", (), "'bmi' is empty in all 48 rows of"),
        ("fit", "empty", (), "'bmi' is empty in all 48 rows of"),
        ("crossval", "untrained", (), "'bmi' is empty in all"),
        ("fit", "untrained", (), "rows of the training clips of fold 0: fill it in, or leave it out"),
        ("crossval", "lacking", (), "has no metadata column 'ward'"),
        ("crossval", "text", (), "row 5, has 'stout' in the metadata column 'bmi'"),
        ("crossval", "", (f"{name}.numbers=[bmi,bmi]",), "each once"),
        ("crossval", "", (f"{name}.categories=[patient]",), "names 'patient'"),
        ("fit", "", (f"{name}.numbers=[wheeze]",), "'wheeze', which the task's labels are or are read from"),
        ("fit", "", (f"{name}.modality_dropout=1",), "modality_dropout is 1"),
    ):
        path = tmp_path / f"{manifest}.csv" if manifest else None
        err = refusal(capsys, arguments(told, command, out, *options, manifest=path))
        assert said in err, (command, manifest, options, err)
        assert not out.exists(), (command, manifest, options)
