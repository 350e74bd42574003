"""Train here, test there: what is predicted, by which thresholds, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from common.files import write_csv
from common.manifest import read_manifest, write_manifest
from finetune.__main__ import main
from tests.docs.pages import ROOT, names, tables


@pytest.fixture(scope="module")
def elsewhere(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of other patients: the made clips under other names, backwards, so that no sound is the same."""
    folder = tmp_path_factory.mktemp("elsewhere")
    table = read_manifest(made / "manifest.csv").head(24)
    for path in table["path"]:
        waveform, rate = soundfile.read(path)
        soundfile.write(folder / Path(path).name, waveform[::-1], rate, subtype="PCM_16")
    table["path"] = [str(folder / Path(path).name) for path in table["path"]]
    for column in ("clip_id", "recording", "patient"):
        table[column] = "b-" + table[column]
    write_manifest(folder / "manifest.csv", table)
    return folder


def command(run: Path, manifest: Path, out: Path, *options: str) -> list[str]:
    return ["transfer", "--run", str(run), "--manifest", str(manifest), "--out", str(out), "--resamples", "50", *options]


def test_it_is_what_the_exported_average_says_by_the_runs_thresholds(
    finished_run: tuple[Path, dict[str, Any]], elsewhere: Path, tmp_path: Path
) -> None:
    run, _ = finished_run
    figures = main(command(run, elsewhere / "manifest.csv", tmp_path / "out"))
    table = read_manifest(elsewhere / "manifest.csv")
    exported = main(["export", "--run", str(run), "--out", str(tmp_path / "model.pt"), "--per_fold", "false"])
    oof = _beside_the_file(tmp_path / "out", tmp_path / "model.pt", elsewhere, tmp_path)
    assert len(oof) == len(table)
    for label in ("normal", "wheeze", "crackle"):
        np.testing.assert_allclose(oof[f"prob_{label}"], oof[f"prob_{label}_file"], atol=2e-3)
    # Of the run, not of these clips: those that the export has.
    said = json.loads((tmp_path / "out" / "report" / "thresholds.json").read_text())
    assert said["thresholds"] == exported["thresholds"]
    assert figures["patients"] == 6 and figures["macro_auroc_ci"][0] <= figures["macro_auroc"] <= figures["macro_auroc_ci"][1]
    page = Path(figures["report"]).read_text()
    assert "Trained elsewhere" in page and "Incomplete" not in page
    assert json.loads((tmp_path / "out" / "run.json").read_text())["transfer"]["folds"] == [0, 1, 2]
    (documented,) = tables(ROOT / "docs" / "files.md", "Train here, test there")
    assert {name.rstrip("/") for name in names(documented)} == {path.name for path in (tmp_path / "out").iterdir()}


@pytest.mark.parametrize("calibration", ["platt", "fold_platt"])
def test_its_calibration_is_the_exported_files(
    finished_run: tuple[Path, dict[str, Any]], elsewhere: Path, tmp_path: Path, capsys: Any, calibration: str
) -> None:
    run, _ = finished_run
    out = tmp_path / "out"
    figures = main(command(run, elsewhere / "manifest.csv", out, "--calibration", calibration))
    model = ("--run", str(run), "--out", str(tmp_path / "model.pt"), "--per_fold", "false")
    exported = main(["export", *model, "--calibration", calibration])
    oof = _beside_the_file(out, tmp_path / "model.pt", elsewhere, tmp_path)
    raw = pd.read_csv(out / "uncalibrated.csv")
    for label in ("normal", "wheeze", "crackle"):
        np.testing.assert_allclose(oof[f"prob_{label}"], oof[f"prob_{label}_file"], atol=2e-3)
        assert np.abs(oof[f"prob_{label}"] - raw[f"prob_{label}"]).max() > 0.02, "or nothing was calibrated"
    assert json.loads((out / "report" / "thresholds.json").read_text())["thresholds"] == exported["thresholds"]
    metrics = json.loads((out / "report" / "metrics.json").read_text())
    assert set(metrics["calibration"]) == {"none", calibration} and metrics["calibrated"] == calibration == figures["calibration"]
    truth = raw["target_wheeze"][(known := raw["target_wheeze"].notna() & (raw["quality"] != "poor"))]
    for choice, table in (("none", raw), (calibration, oof)):
        brier = metrics["calibration"][choice]["labels"]["wheeze"]["brier"]
        assert brier == pytest.approx(((table["prob_wheeze"][known] - truth) ** 2).mean())
    page = Path(figures["report"]).read_text()
    assert f"as does the calibration ({calibration})" in page and "What calibrates was fitted on the predictions of" in page
    with pytest.raises(SystemExit):
        main(["report", "--run", str(out), "--calibration", calibration])
    assert "whose clips calibrate nothing" in capsys.readouterr().err


def test_networks_that_take_metadata_find_it_in_the_other_manifest(made: Path, elsewhere: Path, tmp_path: Path, capsys: Any) -> None:
    parts = "{class_path: finetune.metadata.Metadata, init_args: {numbers: [age_years], categories: [sex]}}"
    data = ("--data.manifest", str(made / "manifest.csv"), "--data.folds", str(made / "folds.csv"))
    run = tmp_path / "run"
    main(["crossval", "-c", str(made / "tiny.yaml"), *data, "--out", str(run), "--model.metadata", parts, "--trainer.max_epochs", "2"])
    table = read_manifest(elsewhere / "manifest.csv")
    table["sex"] = ["F", "", "other", *table["sex"][3:]]
    write_csv(tmp_path / "m.csv", table)
    main(command(run, tmp_path / "m.csv", tmp_path / "out"))
    main(["export", "--run", str(run), "--out", str(tmp_path / "model.pt"), "--per_fold", "false"])
    table.assign(file=table["path"].map(lambda path: Path(path).name)).to_csv(tmp_path / "metadata.csv", index=False)
    oof = _beside_the_file(tmp_path / "out", tmp_path / "model.pt", elsewhere, tmp_path, "--metadata", str(tmp_path / "metadata.csv"))
    for label in ("normal", "wheeze", "crackle"):
        np.testing.assert_allclose(oof[f"prob_{label}"], oof[f"prob_{label}_file"], atol=2e-3)
    write_csv(tmp_path / "m.csv", table.assign(sex=""))
    main(command(run, tmp_path / "m.csv", tmp_path / "unknown"))
    assert np.abs(pd.read_csv(tmp_path / "unknown" / "oof.csv")["prob_wheeze"] - oof["prob_wheeze"]).max() > 1e-4
    write_csv(tmp_path / "m.csv", table.drop(columns="sex"))
    with pytest.raises(SystemExit):
        main(command(run, tmp_path / "m.csv", tmp_path / "refused"))
    assert "has no column 'sex': add it, empty where it is unknown" in capsys.readouterr().err and not (tmp_path / "refused").exists()


def _beside_the_file(transferred: Path, model: Path, clips: Path, folder: Path, *options: str) -> pd.DataFrame:
    """The predictions of ``transferred`` with those of an exported file on the same recordings as columns ``prob_<label>_file``."""
    (predicted := folder / "predicted").mkdir()
    main(["predict", "--model", str(model), "--input", str(clips), "--out", str(predicted / "p.csv"), *options])
    other = pd.read_csv(predicted / "p.csv")
    other["recording"] = "b-" + other["file"].map(lambda name: Path(name).stem)
    return pd.read_csv(transferred / "oof.csv").merge(other, on="recording", suffixes=("", "_file"))


def test_what_was_trained_on_is_refused(
    made: Path, finished_run: tuple[Path, dict[str, Any]], elsewhere: Path, tmp_path: Path, capsys: Any
) -> None:
    run, _ = finished_run
    there, here = read_manifest(elsewhere / "manifest.csv"), read_manifest(made / "manifest.csv")

    def refusal(table: pd.DataFrame, *options: str) -> str:
        write_csv(tmp_path / "m.csv", table)
        with pytest.raises(SystemExit) as stop:
            main(command(run, tmp_path / "m.csv", tmp_path / "out", *options))
        assert stop.value.code == 1 and not (tmp_path / "out").exists()
        return str(capsys.readouterr().err)

    assert "1 patient), first patient p3" in refusal(there.assign(patient=["p3", *there["patient"][1:]]))
    assert "1 recording), first recording r007" in refusal(there.assign(recording=["r007", *there["recording"][1:]]))
    assert "1 exact_duplicate), first exact_duplicate" in refusal(there.assign(path=[here["path"][9], *there["path"][1:]]))
    assert "no label column 'crackle'" in refusal(there.drop(columns="crackle"))
    assert "absent.csv" in refusal(there, "--trained_on", str(tmp_path / "absent.csv"))
    assert "exists already" in _exists(run, elsewhere, tmp_path, capsys)


def _exists(run: Path, elsewhere: Path, tmp_path: Path, capsys: Any) -> str:
    (tmp_path / "there").mkdir()
    with pytest.raises(SystemExit):
        main(command(run, elsewhere / "manifest.csv", tmp_path / "there"))
    return str(capsys.readouterr().err)
