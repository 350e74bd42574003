"""``finetune events --run``: every recording is judged by the network that did not hear its patient."""

import json
from pathlib import Path

import pandas as pd
import pytest
from refusals import sentence

from common.manifest import read_manifest, write_manifest
from finetune.__main__ import main
from finetune.evaluation.summary import evaluate_predictions
from finetune.run_folder import read_run_folder

LABELS = ["normal", "wheeze", "crackle"]


@pytest.fixture(scope="module")
def heard(finished_run: tuple[Path, dict], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    out = tmp_path_factory.mktemp("events") / "out"
    # Windows as the model's own, so that a recording of one window is answered as in cross-validation.
    return out, main(["events", "--run", str(finished_run[0]), "--out", str(out), "--hop_s", "0.5", "--tracks", "csv"])


def test_each_recording_is_answered_as_its_fold_predicted_it(finished_run: tuple[Path, dict], heard: tuple[Path, dict]) -> None:
    predictions = pd.read_csv(finished_run[0] / "oof.csv").set_index("recording")
    record = json.loads((heard[0] / "events.json").read_text())
    assert {recording["recording"] for recording in record["recordings"]} == set(predictions.index)
    assert {recording["fold"] for recording in record["recordings"]} == {0, 1, 2}
    for recording in record["recordings"]:
        own = predictions.loc[recording["recording"]]
        assert recording["fold"] == own["fold"]
        track = pd.read_csv(heard[0] / "tracks" / f"{recording['recording']}.csv")
        # The tiny model's windows are a second long and half a second apart, and a clip's probability is their mean.
        expected = own[[f"prob_{label}" for label in LABELS]].to_numpy(float)
        assert track[LABELS].mean().to_numpy() == pytest.approx(expected, abs=1e-5)


def rules(out: Path) -> dict[int, dict]:
    return {rule["fold"]: rule for rule in json.loads((out / "events.json").read_text())["rules"]}


def test_thresholds_are_those_of_the_other_folds(finished_run: tuple[Path, dict], heard: tuple[Path, dict]) -> None:
    run = read_run_folder(finished_run[0])
    chosen = evaluate_predictions(run.out_of_fold(), run.task, resamples=1).fold_thresholds
    for fold, thresholds in chosen.items():
        own, found = dict(zip(LABELS, thresholds.values, strict=True)), rules(heard[0])[fold]
        assert found["high"] == {label: own[label] for label in ("wheeze", "crackle")}
        assert found["low"] == {label: pytest.approx(0.8 * own[label]) for label in ("wheeze", "crackle")}


def test_thresholds_may_maximise_something_else(
    made: Path, finished_run: tuple[Path, dict], heard: tuple[Path, dict], tmp_path: Path
) -> None:
    run = read_run_folder(finished_run[0])
    write_manifest(tmp_path / "few.csv", read_manifest(made / "manifest.csv").head(2))
    options = ["--manifest", str(tmp_path / "few.csv"), "--thresholds", "f1", "--labels", *LABELS]
    main(["events", "--run", str(finished_run[0]), *options, "--out", str(tmp_path / "out")])
    chosen = evaluate_predictions(run.out_of_fold(), run.task, "f1", resamples=1).fold_thresholds
    found = rules(tmp_path / "out")
    assert all(found[fold]["high"] == dict(zip(LABELS, chosen[fold].values, strict=True)) for fold in found)
    assert any(found[fold]["high"]["crackle"] != rules(heard[0])[fold]["high"]["crackle"] for fold in found)


def test_a_manifest_elsewhere_and_recordings_that_nobody_holds_out(
    made: Path, finished_run: tuple[Path, dict], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = read_manifest(made / "manifest.csv")
    few = manifest.head(5)
    few.loc[4, ["clip_id", "recording"]] = ["new", "new"]
    write_manifest(tmp_path / "few.csv", few)
    options = ["events", "--run", str(finished_run[0]), "--manifest", str(tmp_path / "few.csv")]
    assert main([*options, "--out", str(tmp_path / "out")])["recordings"] == 4
    assert "1 recordings of the manifest are held out by no fold" in capsys.readouterr().err
    write_manifest(tmp_path / "few.csv", manifest.assign(recording="one"))
    assert "has clips in two folds" in sentence(capsys, [*options, "--out", str(tmp_path / "other")])


def test_a_run_that_is_not_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "No run at" in sentence(capsys, ["events", "--run", str(tmp_path / "none"), "--out", str(tmp_path / "out")])
