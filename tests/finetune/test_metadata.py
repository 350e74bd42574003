"""Metadata beside audio: from the training clips alone, missing or not, in the fold, in the file and in the ablation."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from refusals import refusal

from common.described import build
from common.encoders.cnn import Cnn2d
from common.errors import UserError
from common.frontends.log_mel import LogMel
from common.manifest import read_manifest
from common.training.checkpoint import open_module
from finetune.__main__ import main
from finetune.classifier import Classifier
from finetune.metadata import Metadata
from finetune.tasks.multilabel import MultiLabel

PARTS = "{class_path: finetune.metadata.Metadata, init_args: {numbers: [bmi], categories: [sex, ward]}}"


LABELS = ("wheeze", "cough")
# Validated once: with a dozen clips the best of many epochs is one that was lucky.
LONGER = ("--trainer.max_epochs", "10", "--trainer.callbacks", "null", "--trainer.check_val_every_n_epoch", "10")


@pytest.fixture(scope="module")
def told(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The made clips with a cough that only the ward tells (a wheeze is heard), a BMI with gaps, and a config that takes them."""
    folder = tmp_path_factory.mktemp("told")
    table = pd.read_csv(made / "manifest.csv", dtype=str, keep_default_na=False)
    table["cough"] = np.random.default_rng(0).integers(0, 2, len(table))
    table["ward"] = np.where(table["cough"] == 1, "north", "south")
    table["bmi"] = [f"{20 + number % 7}" if number % 3 else "" for number in range(len(table))]
    table.to_csv(folder / "manifest.csv", index=False)
    pd.read_csv(made / "folds.csv", dtype=str, keep_default_na=False).to_csv(folder / "folds.csv", index=False)
    config = (made / "tiny.yaml").read_text().replace("model:\n", f"model:\n  metadata: {PARTS}\n")
    task = "{class_path: finetune.tasks.multilabel.MultiLabel, init_args: {labels: [wheeze, cough], exclusive: null}}"
    (folder / "tiny.yaml").write_text(config.replace("{class_path: finetune.tasks.multilabel.MultiLabel}", task))
    return folder


def arguments(folder: Path, command: str, out: Path, *more: str, manifest: Path | None = None) -> list[str]:
    data = ["--data.manifest", str(manifest or folder / "manifest.csv"), "--data.folds", str(folder / "folds.csv")]
    return [command, "-c", str(folder / "tiny.yaml"), *data, "--out", str(out), *more]


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


def stream(**settings: Any) -> Metadata:
    metadata = Metadata(["age"], ["sex"], **settings)
    metadata.fit(pd.DataFrame({"age": [2.0, 4.0, 12.0], "sex": ["M", "F", "F"]}), "made")
    return metadata


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


def classifier(metadata: Metadata | None) -> Classifier:
    torch.manual_seed(0)
    return Classifier(MultiLabel(), LogMel(num_mels=16), Cnn2d(channels=[4, 8]), clip_s=0.5, metadata=metadata).eval()


def test_both_streams_reach_the_answer_and_one_can_be_silenced() -> None:
    waveform = torch.randn(2, 2000, generator=torch.Generator().manual_seed(0)).cumsum(1) / 30
    one, other = torch.tensor([[2.0, 0.0]]).repeat(2, 1), torch.tensor([[12.0, 1.0]]).repeat(2, 1)
    model = classifier(stream())
    assert not torch.equal(model(waveform, one), model(waveform, other))
    assert not torch.equal(model(waveform, one)[0], model(waveform, one)[1])
    # Nothing known is all missing.
    torch.testing.assert_close(model(waveform), model(waveform, torch.full((2, 2), torch.nan)))
    model = classifier(stream(audio=False))
    assert not torch.equal(model(waveform, one), model(waveform, other))
    assert torch.equal(model(waveform, one)[0], model(waveform, one)[1])


def test_a_model_without_metadata_is_the_one_it_was() -> None:
    model = classifier(None)
    assert model.head.in_features == model.encoder.num_features
    assert not any("metadata" in name for name in model.state_dict())


def test_windows_take_the_metadata_of_their_clip() -> None:
    model = classifier(stream())
    waveform, rows = torch.randn(3, 2000), torch.tensor([[2.0, 0.0], [12.0, 1.0]])
    probabilities, logits = model.clip_probabilities(waveform, torch.tensor([0, 1, 1]), 2, rows)
    torch.testing.assert_close(logits, model(waveform, rows[[0, 1, 1]]))
    torch.testing.assert_close(probabilities[1], torch.sigmoid(logits[1:]).mean(dim=0))


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


def description(path: Path) -> dict[str, Any]:
    extra = {"model.json": ""}
    torch.jit.load(str(path), _extra_files=extra)
    return json.loads(extra["model.json"])


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


def test_folds_of_different_vocabularies_share_the_codes_of_the_file() -> None:
    """A value that a fold was not trained on is unknown to it, whatever its code in the file's vocabulary."""
    metadata = stream().eval()
    wider = metadata.with_vocabularies({"sex": ["D", "F", "M"]})
    rows = torch.tensor([[4.0, code] for code in (0.0, 1.0, 2.0, torch.nan)])
    own = torch.tensor([[4.0, code] for code in (torch.nan, 0.0, 1.0, torch.nan)])
    torch.testing.assert_close(wider(rows), metadata(own))


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


def test_a_file_without_metadata_refuses_them(finished_run: tuple[Path, dict], told: Path, tmp_path: Path, capsys: Any) -> None:
    main(["export", "--run", str(finished_run[0]), "--out", str(tmp_path / "model.pt"), "--per-fold", "false"])
    assert description(tmp_path / "model.pt")["metadata"] is None
    path = read_manifest(told / "manifest.csv")["path"][0]
    known = ["--metadata", str(told / "manifest.csv"), "--metadata-key", "recording"]
    args = ["predict", "--model", str(tmp_path / "model.pt"), "--input", path, "--out", str(tmp_path / "out.csv"), *known]
    assert "was trained without metadata" in refusal(capsys, args)


def test_a_checkpoint_of_metadata_opens_alone(ablation: tuple[Path, dict]) -> None:
    model = open_module(ablation[0] / "both" / "fold-0" / "best.ckpt", Classifier)
    assert model.metadata is not None and model.metadata.audio
    again = torch.load(ablation[0] / "both" / "fold-0" / "best.ckpt", weights_only=True)["module"]["init_args"]["metadata"]
    assert again == model.metadata.describe()
    with pytest.raises(UserError, match="vocabularies for"):
        Metadata(["age"], ["sex"], vocabularies={"ward": ["north"]})


def test_an_ensemble_takes_the_metadata_of_its_members_which_must_read_one_row_alike(told: Path, tmp_path: Path, capsys: Any) -> None:
    names = ("one", "other", "strange")
    settings = ([], ["--seed_everything", "1"], ["--model.metadata.init_args.vocabularies", "{sex: [F, M], ward: [north, south, west]}"])
    for name, more in zip(names, settings, strict=True):
        once = ["--trainer.max_epochs", "1", "--skip-near-duplicates"]
        main(arguments(told, "crossval", tmp_path / name, *once, *more))
        main(["export", "--run", str(tmp_path / name), "--out", str(tmp_path / f"{name}.pt"), "--per_fold", "false"])
    for last in names[1:]:
        main(["ensemble", "--runs", json.dumps([str(tmp_path / "one"), str(tmp_path / last)]), "--out", str(tmp_path / f"with-{last}")])
    main(["export", "--run", str(tmp_path / "with-other"), "--out", str(tmp_path / "both.pt"), "--per_fold", "false"])
    one, other, both = (torch.jit.load(str(tmp_path / f"{name}.pt")) for name in ("one", "other", "both"))
    waveform, rows = 0.1 * torch.randn(2, 5000), torch.tensor([[21.0, 1.0, 0.0], [float("nan"), 0.0, 1.0]])
    lengths = torch.full((2,), 5000)
    expected = (one(waveform, 4000, lengths, rows)[0] + other(waveform, 4000, lengths, rows)[0]) / 2
    torch.testing.assert_close(both(waveform, 4000, lengths, rows)[0], expected)
    assert list(both.metadata_columns) == list(one.metadata_columns) == ["bmi", "sex", "ward"]
    assert not torch.allclose(both(waveform, 4000, lengths)[0], expected, atol=1e-4)
    said = refusal(capsys, ["export", "--run", str(tmp_path / "with-strange"), "--out", str(tmp_path / "strange.pt")])
    assert "['north', 'south', 'west']" in said and "must read one row alike" in said
