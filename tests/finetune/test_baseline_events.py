"""Annotated events as supervision of a baseline: learnt from training patients alone, and refused where they do not fit."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import yaml
from made_baseline import arguments
from refusals import sentence

from common.manifest import Clip, to_table, write_manifest
from finetune.__main__ import main
from finetune.baseline.annotated_events import window_targets
from finetune.baseline.taught import clip_statistics

RATE = 4000
# A breath in which the sound is, and one without.
BREATHS = ((0.0, 1.0), (1.0, 2.0))


def write_breaths(folder: Path, patients: int = 9, records: int = 4) -> None:
    """Records of two breaths, one of which has a tone (a wheeze) or clicks (crackles); their manifest, the events' and folds."""
    random, clips, events = np.random.default_rng(0), [], []
    time = np.arange(2 * RATE) / RATE
    for number in range(patients * records):
        name, patient = f"r{number:02d}", f"p{number // records}"
        wheeze, crackle = [(0, 0), (1, 0), (0, 1), (1, 1)][number % 4]
        place = int(random.integers(2))
        inside = (time >= place) & (time < place + 1)
        waveform = 0.02 * random.standard_normal(len(time)) + 0.2 * wheeze * inside * np.sin(2 * np.pi * random.uniform(300, 500) * time)
        waveform[RATE * place + random.integers(0, RATE, 20)] += 0.7 * crackle
        path = folder / f"{name}.wav"
        soundfile.write(path, waveform.clip(-1, 1), RATE, subtype="PCM_16")
        labels = {"normal": int(not wheeze and not crackle), "wheeze": wheeze, "crackle": crackle}
        poor = number == 5
        known: dict[str, int | None] = dict.fromkeys(labels) if poor else dict(labels)
        clips.append(Clip(name, str(path), name, patient=patient, quality="poor" if poor else "", labels=known))
        for index, (start_s, end_s) in enumerate(BREATHS if not poor else ()):
            heard = {label: value if index == place else int(label == "normal") for label, value in labels.items()}
            events.append(Clip(f"{name}-{index}", str(path), name, start_s, end_s, patient=patient, labels=dict(heard)))
    write_manifest(folder / "manifest.csv", to_table(clips))
    write_manifest(folder / "events.csv", to_table(events))
    main(["folds", "--manifest", str(folder / "manifest.csv"), "--out", str(folder / "folds.csv"), "--num-folds", "3"])


@pytest.fixture(scope="module")
def breaths(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with manifest.csv, events.csv, folds.csv and config.yaml, a detector on a small network's windows."""
    folder = tmp_path_factory.mktemp("breaths")
    write_breaths(folder)
    config: dict[str, Any] = yaml.safe_load((Path(__file__).resolve().parents[2] / "configs" / "baseline_events.yaml").read_text())
    settings = config["model"]["features"]["init_args"]
    settings["front_end"] = {"class_path": "common.frontends.LogMel", "init_args": {"num_mels": 32, "hop": 32}}
    # Six layers in, frames are 8 x 8 ms apart.
    settings |= {"layers": [4, 6], "window_s": 0.512, "hop_s": 0.256}
    config["model"]["detector"]["init_args"] |= {"components": 16, "c": 0.01, "inner_folds": 2}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def with_events(breaths: Path, out: Path, *more: str) -> list[str]:
    return [*arguments(breaths, breaths / "config.yaml", out, "--data.events", str(breaths / "events.csv")), *more]


@pytest.fixture(scope="module")
def finished(breaths: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("runs") / "events"
    return out, main(with_events(breaths, out))


def test_the_run_is_one_that_report_and_ensemble_take(breaths: Path, finished: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    run, figures = finished
    assert figures["macro_auroc"] > 0.9
    record = json.loads((run / "run.json").read_text())
    assert record["detector"]["class_path"].endswith("EventDetector") and record["events_hash"]
    assert json.loads((run / "fold-0" / "fold.json").read_text())["num_features"] == 10
    plain = json.loads(json.dumps(yaml.safe_load((breaths / "config.yaml").read_text())))
    plain["model"]["features"] = {
        "class_path": "finetune.baseline.features.SpectrogramFeatures",
        "init_args": {"front_end": {"class_path": "common.frontends.LogMel", "init_args": {"num_mels": 16}}},
    }
    del plain["model"]["detector"]
    (tmp_path / "plain.yaml").write_text(yaml.safe_dump(plain))
    main(arguments(breaths, tmp_path / "plain.yaml", tmp_path / "plain"))
    runs = json.dumps([str(tmp_path / "plain"), str(run)])
    joined = main(["ensemble", "--runs", runs, "--rule", "stacked", "--out", str(tmp_path / "joined")])
    assert joined["macro_auroc"] > 0.9
    reported = main(["report", "--run", str(run), "--resamples", "20", "--examples", "0"])
    assert "EventDetector(" in Path(reported["report"]).read_text()


def test_events_of_held_out_patients_teach_nothing(breaths: Path, finished: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """With the held-out patients' events gone or turned round the fold's predictions are the same to the last digit; with others' not."""
    folds = pd.read_csv(breaths / "folds.csv")
    events = pd.read_csv(breaths / "events.csv")
    held_out = events["recording"].isin(folds["recording"][folds["fold"] == 1])
    turned = events.copy()
    turned.loc[held_out, ["wheeze", "crackle"]] = 1 - turned.loc[held_out, ["wheeze", "crackle"]]
    before = finished[0] / "fold-1" / "predictions.csv"
    for name, changed in (("gone", events[~held_out]), ("turned", turned)):
        changed.to_csv(tmp_path / f"{name}.csv", index=False)
        main(with_events(breaths, tmp_path / name, "--data.events", str(tmp_path / f"{name}.csv")))
        assert (tmp_path / name / "fold-1" / "predictions.csv").read_bytes() == before.read_bytes()
        other = (tmp_path / name / "fold-0" / "predictions.csv").read_bytes()
        assert other != (finished[0] / "fold-0" / "predictions.csv").read_bytes(), "they train the other folds"


def test_windows_hold_what_lies_in_them() -> None:
    spans = np.array([[0, 1], [1, 2], [2, 3], [3, 4]])
    borders = np.array([[0.2, 0.5], [1.0, 2.3], [2.95, 4.0]])
    labels = np.array([[1.0, 0.0], [0.0, np.nan], [0.0, 1.0]])
    found = window_targets(spans, borders, labels, held=0.5, touched=0.1)
    # 0.3 s of the third window are of the breath that is not annotated for the second label, and 0.05 s of the one that has it.
    expected = [[1, 0], [0, np.nan], [0, np.nan], [0, 1]]
    np.testing.assert_array_equal(found, expected)


def test_a_clip_is_summed_up_by_five_numbers_per_label() -> None:
    logits = np.random.default_rng(0).normal(size=(7, 2))
    found = clip_statistics(logits).reshape(5, 2)
    for column in range(2):
        ordered = sorted(logits[:, column])
        odds = np.exp(logits[:, column]).mean()
        expected = [ordered[-1], sum(ordered[-3:]) / 3, sum(ordered) / 7, np.log(odds), np.std(ordered)]
        assert np.allclose(found[:, column], expected)
    assert np.allclose(clip_statistics(logits[:1]), np.concatenate([logits[0]] * 4 + [[0, 0]]))


def test_what_does_not_fit_is_refused_in_one_sentence(breaths: Path, tmp_path: Path, capsys: Any) -> None:
    events = pd.read_csv(breaths / "events.csv")
    silent = events.assign(wheeze=0)
    strange = events.assign(recording="x" + events["recording"])
    stolen = events.assign(patient="p99")
    for name, table in (("silent", silent), ("strange", strange), ("stolen", stolen), ("bare", events.drop(columns="crackle"))):
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    out = tmp_path / "run"
    for options, said in (
        (("--data.events", str(tmp_path / "none.csv")), "none.csv"),
        (("--data.events", "null"), "give both or neither"),
        (("--model.detector", "null"), "give both or neither"),
        (("--data.events", str(tmp_path / "strange.csv")), "None of the 70 events"),
        (("--data.events", str(tmp_path / "stolen.csv")), "make both manifests of the same dataset"),
        (("--data.events", str(tmp_path / "bare.csv")), "no label column 'crackle'"),
        (("--data.events", str(tmp_path / "silent.csv")), "'wheeze' in a fold, 0 hold an event"),
        (("--model.detector.init_args.inner_folds", "9"), "fewer than the detector's 9 inner folds"),
        (("--model.detector.init_args.touched", "0.7"), "touched 0.7"),
        (("--model.features.init_args.layers", "[40]"), "layers 0 to 16"),
        (("--model.features.init_args.hop_s", "0.01"), "a hop of one frame at least"),
    ):
        assert said in sentence(capsys, with_events(breaths, out, *options)), options
        assert not out.exists(), options
    plain = ["--model.features", "finetune.baseline.features.EncoderFeatures", "--model.features.init_args.pooling", "[mean]"]
    assert "a detector (--model.detector) needs windows" in sentence(capsys, with_events(breaths, out, *plain))


def test_a_run_goes_on_with_its_own_events_alone(breaths: Path, tmp_path: Path, capsys: Any) -> None:
    events = tmp_path / "events.csv"
    events.write_bytes((breaths / "events.csv").read_bytes())
    words = with_events(breaths, tmp_path / "run", "--data.events", str(events))
    main(words)
    main(words)
    assert "nothing to do" in capsys.readouterr().err
    pd.read_csv(events).iloc[4:].to_csv(events, index=False)
    assert "The annotated events changed" in sentence(capsys, words)
