"""The three runs of an ablation: what they were fitted on, what they show, and the files that they become."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from made_metadata import LABELS, arguments, description, write_told
from refusals import refusal

from common.errors import UserError
from common.manifest import read_manifest
from common.training.checkpoint import open_module
from finetune.__main__ import main
from finetune.classifier import Classifier
from finetune.metadata import Metadata

# Validated once: with a dozen clips the best of many epochs is one that was lucky.
LONGER = ("--trainer.max_epochs", "10", "--trainer.callbacks", "null", "--trainer.check_val_every_n_epoch", "10")


@pytest.fixture(scope="module")
def told(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_told(tmp_path_factory.mktemp("told"), made)


@pytest.fixture(scope="module")
def ablation(told: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The three runs of an ablation, and its figures."""
    folder = tmp_path_factory.mktemp("ablation") / "study"
    return folder, main(arguments(told, "ablate-metadata", folder, *LONGER))


def roles(told: Path, fold: int) -> pd.DataFrame:
    table = read_manifest(told / "manifest.csv", LABELS)
    return table.assign(role=pd.read_csv(told / "folds.csv")[f"role_{fold}"])


def test_statistics_and_vocabularies_are_those_of_the_training_clips(told: Path, ablation: tuple[Path, dict]) -> None:
    for fold in range(3):
        table = roles(told, fold)
        training = table[(table["role"] == "train") & table[list(LABELS)].notna().any(axis=1)]
        metadata = open_module(ablation[0] / "both" / f"fold-{fold}" / "best.ckpt", Classifier).metadata
        assert metadata is not None and metadata.columns == ("bmi", "sex", "ward")
        numbers = training[["bmi"]]
        np.testing.assert_allclose(metadata.median, numbers.median(), rtol=1e-6)
        np.testing.assert_allclose(metadata.mean, numbers.mean(), rtol=1e-6)
        np.testing.assert_allclose(metadata.deviation, numbers.std(ddof=0), rtol=1e-5)
        # All clips together have other statistics, or this would show nothing.
        assert not np.allclose(metadata.mean, table["bmi"].mean(), rtol=1e-4)
        assert metadata.vocabularies == {"sex": ["F", "M"], "ward": ["north", "south"]}


def test_the_ablation_shows_what_metadata_add(told: Path, ablation: tuple[Path, dict], capsys: Any) -> None:
    """Each stream tells one label and has nothing of the other; both together tell both."""
    folder, figures = ablation
    assert {path.name for path in folder.iterdir()} == {"audio", "metadata", "both", "comparison"}
    record = json.loads((folder / "comparison" / "comparison.json").read_text())
    assert [setting["name"] for setting in record["settings"]] == ["audio", "metadata", "both"]
    auroc = {setting["name"]: setting["figures"] for setting in record["settings"]}
    assert auroc["audio"]["auroc_wheeze"] > 0.8 and auroc["audio"]["auroc_cough"] < 0.7
    assert auroc["metadata"]["auroc_wheeze"] < 0.7 and auroc["metadata"]["auroc_cough"] > 0.95
    assert auroc["both"]["auroc_wheeze"] > 0.8 and auroc["both"]["auroc_cough"] > 0.95
    assert figures["macro_auroc"]["both"] == pytest.approx(auroc["both"]["macro_auroc"])
    audio = open_module(folder / "audio" / "fold-0" / "best.ckpt", Classifier)
    assert audio.metadata is None
    assert main(arguments(told, "ablate-metadata", folder, *LONGER)) == figures
    assert capsys.readouterr().err.count("nothing to do") == 3


def test_a_column_that_tells_a_label_is_said(ablation: tuple[Path, dict]) -> None:
    def codes(name: str) -> set[tuple[str, str]]:
        guard = json.loads((ablation[0] / name / "run.json").read_text())["guard"]
        return {(each["item"], each["detail"].partition("over ")[2]) for each in guard["findings"] if each["code"] == "input_tells_label"}

    assert codes("audio") == set()
    assert codes("both") == codes("metadata") == {("cough", "2 groups by ward")}


def test_an_ablation_without_metadata_is_refused(made: Path, tmp_path: Path, capsys: Any) -> None:
    assert "has no model.metadata" in refusal(capsys, arguments(made, "ablate-metadata", tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_changed_metadata_do_not_mix_with_a_run(told: Path, ablation: tuple[Path, dict], capsys: Any) -> None:
    original = (told / "manifest.csv").read_text()
    again = arguments(told, "crossval", ablation[0] / "both", *LONGER, "--model.metadata.init_args.audio=true")
    try:
        table = pd.read_csv(told / "manifest.csv", dtype=str, keep_default_na=False)
        table.assign(ward="east").to_csv(told / "manifest.csv", index=False)
        assert "changed since the run" in refusal(capsys, again)
    finally:
        (told / "manifest.csv").write_text(original)
    assert "nothing to do" in (main(again) and capsys.readouterr().err)


@pytest.fixture(scope="module")
def exported(ablation: tuple[Path, dict], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "model.pt"
    assert main(["export", "--run", str(ablation[0] / "both"), "--out", str(path)])["parity"] <= 1e-5
    return path


def test_a_fold_s_file_answers_with_metadata_what_the_fold_predicted(told: Path, ablation: tuple[Path, dict], exported: Path) -> None:
    """Through ``predict`` with the manifest as the table: recordings are whole clips here."""
    predictions = pd.read_csv(ablation[0] / "both" / "oof.csv").set_index("recording")
    table = read_manifest(told / "manifest.csv").rename(columns={"recording": "name"})
    table.to_csv(exported.parent / "table.csv", index=False)
    for fold in range(3):
        some = predictions[predictions["fold"] == fold].head(6)
        files = [str(table.set_index("name").loc[name, "path"]) for name in some.index]
        model, out = exported.with_suffix(f".fold-{fold}.pt"), exported.parent / f"{fold}.csv"
        known = ["--metadata", str(exported.parent / "table.csv"), "--metadata-key", "name"]
        main(["predict", "--model", str(model), "--input", *files, "--out", str(out), *known])
        found = pd.read_csv(out)
        for label in LABELS:
            np.testing.assert_allclose(found[f"prob_{label}"], some[f"prob_{label}"], atol=1e-5)
        main(["predict", "--model", str(model), "--input", *files, "--out", str(out)])
        assert np.abs(pd.read_csv(out)["prob_cough"].to_numpy() - some["prob_cough"].to_numpy()).max() > 0.01


def documented(path: Path, tables: list[dict[str, Any]]) -> torch.Tensor:
    """Raw rows by the function of docs/export.md, -1 for NaN."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "export.md").read_text(encoding="utf-8")
    found: dict[str, Any] = {"torch": torch}
    exec(next(block for block in page.split("```") if "def metadata_rows" in block).removeprefix("python"), found)
    return found["metadata_rows"](torch.jit.load(str(path)), description(path), tables).nan_to_num(-1)


def test_the_file_says_what_it_takes_and_takes_what_is_left_out_as_missing(exported: Path) -> None:
    model, described = torch.jit.load(str(exported)), description(exported)
    taken = described["metadata"]
    assert taken["columns"] == list(model.metadata_columns) == ["bmi", "sex", "ward"]
    assert taken["numbers"] == ["bmi"] and taken["vocabularies"] == {"sex": ["F", "M"], "ward": ["north", "south"]}
    assert "metadata [B, M]" in described["signature"]
    waveform = 0.1 * torch.randn(2, 6000, generator=torch.Generator().manual_seed(0))
    rows = torch.tensor([[22.0, 0.0, 0.0], [torch.nan, 1.0, 1.0]])
    with torch.inference_mode():
        with_all, without = model(waveform, 4000, None, rows)[0], model(waveform, 4000)[0]
        torch.testing.assert_close(without, model(waveform, 4000, None, torch.full((2, 3), torch.nan))[0])
        torch.testing.assert_close(with_all[1:], model(waveform[1:], 4000, None, rows[1:])[0], atol=1e-5, rtol=0)
        assert (with_all - without).abs().max() > 0.01 and torch.isfinite(without).all()
        assert torch.equal(
            rows.nan_to_num(-1), documented(exported, [{"bmi": 22, "sex": "F", "ward": "north"}, {"sex": "M", "ward": "south"}])
        )
        with pytest.raises(Exception, match="expected 2 rows of the columns"):
            model(waveform, 4000, None, rows[:, :2])


def test_prediction_joins_by_file_name_and_says_what_it_lacks(told: Path, exported: Path, tmp_path: Path, capsys: Any) -> None:
    paths = [str(path) for path in read_manifest(told / "manifest.csv")["path"].head(3)]
    table = pd.DataFrame({"file": [f"somewhere/{Path(paths[0]).name}", Path(paths[1]).stem], "bmi": [22, None]})
    table = table.assign(sex=["F", "M"], ward=["north", "a new one"])

    def predict(table: pd.DataFrame, *more: str) -> list[str]:
        table.to_csv(tmp_path / "table.csv", index=False)
        known = ["--metadata", str(tmp_path / "table.csv"), *more]
        return ["predict", "--model", str(exported), "--input", *paths, "--out", str(tmp_path / "out.csv"), *known]

    main(predict(table))
    assert "1 of 3 recordings have no row" in capsys.readouterr().err
    assert "more than one row for" in refusal(capsys, predict(pd.concat([table, table])))
    assert "no metadata column 'ward'" in refusal(capsys, predict(table.drop(columns="ward")))
    assert "no metadata column 'name'" in refusal(capsys, predict(table, "--metadata_key", "name"))
    assert "No recording has a row" in refusal(capsys, predict(table.assign(file="other.wav").head(1)))
    assert "has 'stout' in the metadata column 'bmi'" in refusal(capsys, predict(table.assign(bmi="stout")))


def test_a_checkpoint_of_metadata_opens_alone(ablation: tuple[Path, dict]) -> None:
    model = open_module(ablation[0] / "both" / "fold-0" / "best.ckpt", Classifier)
    assert model.metadata is not None and model.metadata.audio
    again = torch.load(ablation[0] / "both" / "fold-0" / "best.ckpt", weights_only=True)["module"]["init_args"]["metadata"]
    assert again == model.metadata.describe()
    with pytest.raises(UserError, match="vocabularies for"):
        Metadata(["age"], ["sex"], vocabularies={"ward": ["north"]})
