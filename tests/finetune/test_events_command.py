"""``finetune events`` with a model file: recordings in, tables, label files and tracks out."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_events import LABELS, bursts, write_model, write_recording
from refusals import sentence

from finetune.__main__ import main


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "model.pt")


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """A folder of two recordings with events, one without, and one that does not open."""
    folder = tmp_path / "in"
    write_recording(folder / "two.wav", bursts(20, (3.0, 5.0), (12.0, 13.5)))
    write_recording(folder / "ward" / "stereo.flac", np.column_stack([bursts(4, (1.0, 3.0), rate=8000)] * 2), 8000)
    write_recording(folder / "quiet.wav", bursts(2))
    (folder / "text.wav").write_text("not audio")
    return folder


def call(out: Path, model: Path, recordings: Path, *options: str) -> dict:
    return main(["events", "--model", str(model), "--input", str(recordings), "--out", str(out), *options])


def test_events_are_found_where_they_are(model: Path, recordings: Path, tmp_path: Path) -> None:
    figures = call(tmp_path / "out", model, recordings, "--window-s", "0.2", "--hop-s", "0.05")
    table = pd.read_csv(tmp_path / "out" / "events.csv")
    assert list(table.columns) == ["recording", "label", "onset_s", "offset_s", "peak", "mean"]
    loud = table[table["label"] == "loud"]
    assert list(loud["recording"]) == ["two", "two", "ward/stereo"]
    # An event lasts while about half of the window hears it, so borders are right to within half a window.
    np.testing.assert_allclose(loud[["onset_s", "offset_s"]], [[3, 5], [12, 13.5], [1, 3]], atol=0.1)
    assert (loud["peak"] > 0.8).all() and (loud["mean"] < loud["peak"]).all()
    assert {name: figures[name] for name in ("recordings", "failed", "events")} == {
        "recordings": 4,
        "failed": 1,
        "events": {"loud": 3, "positive": 0},
    }
    assert figures["hours"] == pytest.approx(26 / 3600)


def test_the_files_say_the_same(model: Path, recordings: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    call(out, model, recordings, "--tracks", "csv", "--labels", "loud", "--high", '{"loud": 0.7}', "--median-rows", "3")
    table = pd.read_csv(out / "events.csv")
    record = json.loads((out / "events.json").read_text())
    by_name = {recording["recording"]: recording for recording in record["recordings"]}
    assert set(by_name) == {"two", "ward/stereo", "quiet", "text"} and record["labels"] == ["loud"]
    assert (record["window_s"], record["hop_s"]) == (0.5, 0.05)
    rule = record["rules"][0]
    assert (rule["high"], rule["low"], rule["median_rows"]) == ({"loud": 0.7}, {"loud": pytest.approx(0.56)}, 3)
    rows = [{"recording": name, **event} for name, recording in by_name.items() for event in recording["events"]]
    pd.testing.assert_frame_equal(
        pd.DataFrame(rows, columns=table.columns).sort_values(["recording", "onset_s"]).reset_index(drop=True), table
    )
    assert "does not open" in by_name["text"]["reason"] and by_name["text"]["duration_s"] is None
    assert by_name["quiet"]["flagged_s"] == {"silent": pytest.approx(2.0)} and by_name["quiet"]["events"] == []
    # Audacity's labels: onset, offset and name, divided by tabs.
    lines = (out / "audacity" / "ward" / "stereo.txt").read_text().splitlines()
    (onset, offset, label), *more = [line.split("\t") for line in lines]
    event = by_name["ward/stereo"]["events"][0]
    assert (float(onset), float(offset), label, more) == (pytest.approx(event["onset_s"]), pytest.approx(event["offset_s"]), "loud", [])
    assert (out / "audacity" / "quiet.txt").read_text() == "" and not (out / "audacity" / "text.txt").exists()
    track = pd.read_csv(out / "tracks" / "two.csv")
    assert list(track.columns) == ["start_s", "end_s", *LABELS, "flags"] and track["end_s"].iloc[-1] == 20
    assert track["loud"].max() == pytest.approx(0.9, abs=1e-6)


def test_a_track_opens_without_pickle(model: Path, recordings: Path, tmp_path: Path) -> None:
    call(tmp_path / "csv", model, recordings, "--tracks", "csv")
    call(tmp_path / "npz", model, recordings, "--tracks", "npz")
    table = pd.read_csv(tmp_path / "csv" / "tracks" / "two.csv")
    with np.load(tmp_path / "npz" / "tracks" / "two.npz", allow_pickle=False) as arrays:
        assert list(arrays["labels"]) == list(LABELS)
        np.testing.assert_allclose(arrays["probabilities"], table[list(LABELS)], atol=1e-7)
        np.testing.assert_allclose(np.column_stack([arrays["start_s"], arrays["end_s"]]), table[["start_s", "end_s"]])


def test_blocks_of_the_file_do_not_matter(model: Path, recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call(tmp_path / "whole", model, recordings, "--tracks", "csv")
    monkeypatch.setattr("common.audio.read.read_blocks.__defaults__", (777,))
    call(tmp_path / "blocks", model, recordings, "--tracks", "csv")
    for name in ("events.csv", "tracks/two.csv", "tracks/ward/stereo.csv"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "blocks" / name).read_bytes(), name


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--hop_s", "0.6"], "expected --hop_s above 0 and up to --window_s"),
        (["--window_s", "0"], "expected --hop_s above 0"),
        (["--labels", "wheeze"], "--labels names wheeze: expected some of loud, positive"),
        (["--high", '{"wheeze": 0.5}'], "--high has a threshold for wheeze, whose events are not looked for"),
        (["--low", "0.55"], "The thresholds of loud are low 0.55 and high 0.5"),
        (["--median_rows", "4"], "--median_rows is 4: expected an odd number"),
        (["--min_gap_s", "-1"], "--min_gap_s is -1: expected seconds"),
        (["--batch_size", "0"], "--batch_size is 0"),
        (["--run", "somewhere"], "Give either --model with --input, or --run alone"),
        (["--manifest", "manifest.csv"], "--manifest is that of --run"),
        (["--thresholds", "f1"], "--thresholds chooses those of --run"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_heard(
    model: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    given = ["events", "--model", str(model), "--input", str(recordings), "--out", str(tmp_path / "out"), *options]
    assert said in sentence(capsys, given) and not (tmp_path / "out").exists()


def test_two_recordings_of_one_name_and_a_folder_in_use_are_refused(
    model: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_recording(tmp_path / "two.flac", bursts(1))
    both = ["events", "--model", str(model), "--input", str(recordings), str(other), "--out"]
    assert "would both be the recording 'two'" in sentence(capsys, [*both, str(tmp_path / "out")])
    assert "is in use" in sentence(capsys, ["events", "--model", str(model), "--input", str(other), "--out", str(recordings)])
