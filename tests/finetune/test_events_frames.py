"""Events found frame by frame, by networks that annotated events taught: where they are, by thresholds that nobody chose for himself."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from made_annotated import RATE
from made_events import bursts, write_model, write_recording
from refusals import sentence

from common.manifest import read_manifest, write_manifest
from common.training.checkpoint import open_module
from finetune.__main__ import main
from finetune.classifier import Classifier
from finetune.events.judge import judge_of
from finetune.events.recording import find_events
from finetune.events.rule import event_rule
from finetune.events.stream import EventStream
from finetune.events.track import Track
from finetune.events.track_stream import TrackStream
from finetune.events.windows import windows_for
from finetune.predict.model_file import open_model
from tests.serve.made_bundle import write_description
from tests.serve.serving import serving

Made = tuple[Path, dict[str, Any]]
Long = tuple[Path, list[tuple[float, float]]]


@pytest.fixture(scope="module")
def heard(taught_run: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``events --run`` found."""
    out = tmp_path_factory.mktemp("events") / "out"
    main(["events", "--run", str(taught_run[0]), "--out", str(out), "--tracks", "csv"])
    return out


@pytest.fixture(scope="module")
def file(taught_run: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "model.pt"
    main(["export", "--run", str(taught_run[0]), "--out", str(path)])
    return path


@pytest.fixture(scope="module")
def long(breaths: Path, tmp_path_factory: pytest.TempPathFactory) -> Long:
    """A recording of twelve records one after the other, and where it has a tone."""
    path = tmp_path_factory.mktemp("long") / "long.wav"
    names = [f"r{number:02d}" for number in range(8, 20)]
    write_recording(path, np.concatenate([soundfile.read(breaths / f"{name}.wav", dtype="float32")[0] for name in names]), RATE)
    events = pd.read_csv(breaths / "events.csv").query("wheeze == 1")
    places = events.assign(after=2.0 * events["recording"].map({name: number for number, name in enumerate(names)})).dropna(subset="after")
    return path, [(row.after + row.start_s, row.after + row.end_s) for row in places.sort_values("after").itertuples()]


def rules(out: Path) -> dict[int, dict[str, Any]]:
    return {rule["fold"]: rule for rule in json.loads((out / "events.json").read_text())["rules"]}


def scored(out: Path, breaths: Path) -> dict[str, Any]:
    # Segments of a frame's size: with longer ones a border that is off by one frame makes all of the next segment wrong.
    options = ["--reference", str(breaths / "events.csv"), "--resamples", "5", "--segment_s", "0.1"]
    return main(["score-events", "--events", str(out / "events.csv"), *options])


def test_frames_place_events_that_windows_cannot(breaths: Path, taught_run: Made, heard: Path, tmp_path: Path) -> None:
    record = json.loads((heard / "events.json").read_text())
    assert (record["by"], record["labels"], record["window_s"], record["hop_s"]) == ("frames", ["wheeze", "crackle"], 1.5, 0.75)
    by_frames = scored(heard, breaths)
    main(["events", "--run", str(taught_run[0]), "--out", str(tmp_path / "windows"), "--by", "windows", "--labels", "wheeze", "crackle"])
    by_windows = scored(tmp_path / "windows", breaths)
    assert by_frames["event"]["labels"]["wheeze"]["f1"] > 0.7 and by_frames["segment"]["macro_f1"] > 0.8
    for criterion in ("event", "onset", "segment"):
        assert by_frames[criterion]["macro_f1"] > by_windows[criterion]["macro_f1"], criterion
    track = pd.read_csv(heard / "tracks" / "r00.csv")
    assert list(track.columns) == ["start_s", "end_s", "wheeze", "crackle", "flags"]
    assert (
        track["start_s"].iloc[0] == 0
        and track["end_s"].iloc[-1] == 2
        and (track["start_s"].iloc[1:] == track["end_s"].iloc[:-1].array).all()
    )
    assert (track["end_s"] - track["start_s"]).max() == pytest.approx(0.064)


def test_nobody_is_judged_by_a_threshold_that_he_chose(taught_run: Made, heard: Path, tmp_path: Path) -> None:
    chosen = {fold: json.loads((taught_run[0] / f"fold-{fold}" / "fold.json").read_text())["frames"] for fold in range(3)}
    for fold, rule in rules(heard).items():
        for label in ("wheeze", "crackle"):
            others = [chosen[other][label]["threshold"] for other in range(3) if other != fold]
            assert rule["high"][label] == pytest.approx(np.mean(others)) and rule["low"][label] == pytest.approx(0.8 * np.mean(others))
    run = shutil.copytree(taught_run[0], tmp_path / "run")
    record = json.loads((run / "fold-1" / "fold.json").read_text())
    record["frames"]["wheeze"]["threshold"] = 0.987
    # Of a fold without a crackle that is held out.
    record["frames"]["crackle"]["threshold"] = None
    (run / "fold-1" / "fold.json").write_text(json.dumps(record))
    main(["events", "--run", str(run), "--out", str(tmp_path / "out")])
    before, after = rules(heard), rules(tmp_path / "out")
    assert after[1] == before[1] and all(after[fold]["high"]["wheeze"] != before[fold]["high"]["wheeze"] for fold in (0, 2))
    assert after[0]["high"]["crackle"] == chosen[2]["crackle"]["threshold"]


def test_a_fold_that_is_opened_alone_hears_the_same(breaths: Path, taught_run: Made, heard: Path, tmp_path: Path) -> None:
    """Its network is not taken apart then, as there is no other to share its encoder with."""
    folds = pd.read_csv(breaths / "folds.csv")
    manifest = read_manifest(breaths / "manifest.csv")
    few = manifest[manifest["recording"].isin(folds["recording"][folds["fold"] == 1])]
    write_manifest(tmp_path / "few.csv", few)
    main(
        ["events", "--run", str(taught_run[0]), "--manifest", str(tmp_path / "few.csv"), "--out", str(tmp_path / "out"), "--tracks", "csv"]
    )
    assert list(rules(tmp_path / "out")) == [1] and rules(tmp_path / "out")[1] == rules(heard)[1]
    for name in few["recording"]:
        tracks = (pd.read_csv(out / "tracks" / f"{name}.csv") for out in (heard, tmp_path / "out"))
        np.testing.assert_allclose(*tracks, atol=1e-5)


def test_a_file_tells_frames_as_its_folds_do(taught_run: Made, file: Path) -> None:
    extra = {"model.json": "", "MODEL_CARD.md": ""}
    model = torch.jit.load(file, _extra_files=extra)
    frames = json.loads(extra["model.json"])["frames"]
    chosen = [json.loads((taught_run[0] / f"fold-{fold}" / "fold.json").read_text())["frames"] for fold in range(3)]
    expected = [np.mean([of_fold[label]["threshold"] for of_fold in chosen]) for label in ("wheeze", "crackle")]
    assert frames == {"labels": ["wheeze", "crackle"], "frame_s": 0.064, "thresholds": pytest.approx(expected)}
    assert model.frame_labels == ["wheeze", "crackle"] and model.frame_s == 0.064 and "model.frames(" in extra["MODEL_CARD.md"].decode()
    waveform = 0.1 * torch.randn(2, 4000, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        told, flags = model.frames(waveform, RATE)
        single = [torch.jit.load(file.with_suffix(f".fold-{fold}.pt")).frames(waveform, RATE)[0] for fold in range(3)]
        torch.testing.assert_close(told, torch.stack(single).mean(dim=0), atol=1e-6, rtol=0)
        # A second is repeated to fill the window.
        classifier = open_module(taught_run[0] / "fold-2" / "best.ckpt", Classifier)
        feature_map = classifier.encoder.feature_map(classifier.front_end(waveform.repeat(1, 2)[:, :6000]))
        torch.testing.assert_close(single[2], classifier.head.event_probabilities(feature_map), atol=1e-5, rtol=0)
        assert told.shape == (2, feature_map.shape[2], 2) and flags.tolist() == [0, 0]
        for wrong, said in ((torch.zeros(1, 6100), "expected a window of 6000 at most"), (torch.zeros(8), "expected 2: ")):
            with pytest.raises(Exception, match=said):
                model.frames(wrong, RATE)
        assert model.frames(torch.zeros(1, 0), RATE)[0].shape == (1, feature_map.shape[2], 2)


def test_events_of_a_long_recording_lie_where_the_sound_is(file: Path, long: Long, tmp_path: Path) -> None:
    options = ["--labels", "wheeze", "--min_length_s", "0.3", "--min_gap_s", "0.3"]
    found = main(["events", "--model", str(file), "--input", str(long[0]), "--out", str(tmp_path / "out"), *options])
    table = pd.read_csv(found["table"])
    for start_s, end_s in long[1]:
        # Two breaths with a tone may follow each other without a pause.
        near = table[(table["onset_s"] < end_s - 0.5) & (table["offset_s"] > start_s + 0.5)]
        assert len(near), (start_s, end_s)
    inside = [min(event.offset_s, end) - max(event.onset_s, start) for event in table.itertuples() for start, end in long[1]]
    shared, length = sum(max(0.0, overlap) for overlap in inside), (table["offset_s"] - table["onset_s"]).sum()
    assert shared > 0.75 * max(length, len(long[1])), "most of what is found is tone, and most of the tone is found"


def test_a_live_signal_gives_the_whole_recording_s_rows(file: Path, long: Long) -> None:
    judge = judge_of(open_model(file))
    waveform = soundfile.read(long[0], dtype="float32")[0]

    def rows(chunks: list[np.ndarray], at_once: int) -> Track:
        stream = EventStream(TrackStream(judge, RATE, windows_for(judge, at_once=at_once)), event_rule(judge))
        return Track.joined([stream.feed(chunk)[0] for chunk in chunks] + [stream.close()[0]])

    for at_once in (1, 16):
        whole, live = rows([waveform], at_once), rows(np.array_split(waveform, 53), at_once)
        for name in ("start_s", "end_s", "probabilities", "flags"):
            assert np.array_equal(getattr(whole, name), getattr(live, name)), name


def test_the_service_tells_the_rows_of_the_same_file(file: Path, long: Long, tmp_path: Path) -> None:
    extra = {"model.json": ""}
    torch.jit.load(file, _extra_files=extra)
    folder = tmp_path / "bundle"
    folder.mkdir()
    shutil.copy(file, folder / "model.pt")
    write_description(folder, {**json.loads(extra["model.json"]), "golden": None})
    judge = judge_of(open_model(file))
    track = find_events("long", long[0], judge, event_rule(judge), windows_for(judge), keep_track=True).track
    assert track is not None
    with serving(folder) as service:
        (answer,) = service.frames(long[0].read_bytes()).json()["results"]
    told = np.array([event["probabilities"] for event in answer["labels"]]).T
    assert [event["label"] for event in answer["labels"]] == ["wheeze", "crackle"] and np.ptp(told[:, 0]) > 0.5
    for found, expected in ((answer["begin_s"], track.start_s), (answer["end_s"], track.end_s), (told, track.probabilities)):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_a_model_that_tells_frames_can_be_asked_for_windows(tmp_path: Path) -> None:
    model, recording = write_model(tmp_path / "model.pt", frames=True), write_recording(tmp_path / "one.wav", bursts(6, (2.0, 3.0)))
    given = ["events", "--model", str(model), "--input", str(recording), "--tracks", "csv", "--high", "0.5"]
    rows = {}
    for by in ("frames", "windows"):
        main([*given, "--by", by, "--out", str(tmp_path / by)])
        (event,) = pd.read_csv(tmp_path / by / "events.csv").query("label == 'loud'").itertuples()
        rows[by] = event
    # Frames of 40 ms lie on the borders; windows of 500 ms smear them.
    assert (rows["frames"].onset_s, rows["frames"].offset_s) == (pytest.approx(2.0, abs=0.041), pytest.approx(3.0, abs=0.041))
    assert list(pd.read_csv(tmp_path / "windows" / "tracks" / "one.csv").columns) == ["start_s", "end_s", "loud", "positive", "flags"]
    write_model(tmp_path / "plain.pt")
    main(["events", "--model", str(tmp_path / "plain.pt"), *given[3:], "--out", str(tmp_path / "plain")])
    for name in ("events.csv", "tracks/one.csv"):
        assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "windows" / name).read_bytes(), "as a model without frames"


def test_what_frames_cannot_do_is_refused_in_one_sentence(
    taught_run: Made, finished_run: Made, file: Path, long: Long, tmp_path: Path, capsys: Any
) -> None:
    out = tmp_path / "out"
    plain = write_model(tmp_path / "plain.pt")
    by_file = ["events", "--input", str(long[0]), "--out", str(out), "--model"]
    for words, said in (
        ([*by_file, str(plain), "--by", "frames"], "--by frames needs a model that annotated events taught"),
        (["events", "--run", str(finished_run[0]), "--out", str(out), "--by", "frames"], "--by frames needs a model"),
        ([*by_file, str(file), "--labels", "normal"], "--labels names normal: expected some of wheeze, crackle"),
        ([*by_file, str(file), "--window_s", "2"], "--window_s is 2, and the model tells the frames of 1.5 s"),
        (["events", "--run", str(taught_run[0]), "--out", str(out), "--thresholds", "f1"], "--thresholds chooses those of windows"),
    ):
        assert said in sentence(capsys, words), words
        assert not out.exists()
    with pytest.raises(Exception, match="whole windows only"):
        open_model(plain).module.frames(torch.zeros(1, 500), 1000)
