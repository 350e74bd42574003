"""Scores of events against examples worked out by hand, and against sed_eval's own sums."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sed_eval
from made_events import bursts, write_model, write_recording
from refusals import sentence

from common.manifest import Clip, to_table, write_manifest
from finetune.__main__ import main
from finetune.events.counts import Criteria, count
from finetune.events.figures import figures_of

COLUMNS = ["recording", "label", "onset_s", "offset_s"]
# One recording per patient, two labels.
REFERENCE = [("a", "wheeze", 1.0, 2.0), ("a", "wheeze", 4.0, 6.0), ("a", "crackle", 1.0, 2.0), ("b", "crackle", 0.0, 1.0)]
FOUND = [
    # Right: 0.1 s late, and 0.4 s too long, which is less than half of the length.
    ("a", "wheeze", 1.1, 2.4),
    # The onset is right, the offset 1.1 s off, more than half of 2 s.
    ("a", "wheeze", 4.1, 7.1),
    # In the place of an annotated crackle of b: a substitution.
    ("b", "wheeze", 0.0, 1.0),
]


def table(rows: list[tuple]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=COLUMNS)


def score(tmp_path: Path, reference: pd.DataFrame, found: pd.DataFrame, *options: str) -> dict:
    reference.to_csv(tmp_path / "reference.csv", index=False)
    found.to_csv(tmp_path / "found.csv", index=False)
    given = ["--events", str(tmp_path / "found.csv"), "--reference", str(tmp_path / "reference.csv")]
    return main(["score-events", *given, "--resamples", "50", *options])


def test_an_example_worked_out_by_hand(tmp_path: Path) -> None:
    figures = score(tmp_path, table(REFERENCE), table(FOUND))
    event, onset, segment = figures["event"], figures["onset"], figures["segment"]
    # Events: 1 of 2 wheezes right, 3 found; no crackle found of 2. F1 = 2 right / (annotated + found).
    wheeze = event["labels"]["wheeze"]
    assert (wheeze["right"], wheeze["reference"], wheeze["found"]) == (1, 2, 3)
    assert (wheeze["f1"], wheeze["precision"], wheeze["recall"]) == (pytest.approx(2 / 5), pytest.approx(1 / 3), pytest.approx(1 / 2))
    # One deletion and two insertions to two annotated ones.
    assert wheeze["error_rate"] == pytest.approx(3 / 2)
    assert event["labels"]["crackle"]["f1"] == 0 and event["labels"]["crackle"]["precision"] is None
    assert event["macro_f1"] == pytest.approx(1 / 5) and event["f1"] == pytest.approx(2 / 7)
    # Of 4: b's crackle is a substitution, a's crackle and second wheeze are missed, the long wheeze is inserted.
    assert event["error_rate"] == pytest.approx((1 + 2 + 1) / 4)
    assert onset["labels"]["wheeze"]["f1"] == pytest.approx(4 / 5)
    # Seconds with a wheeze in a: 1 | 4 5; found 1 2 | 4 5 6 7. In b: none; found 0.
    wheeze = segment["labels"]["wheeze"]
    assert (wheeze["right"], wheeze["reference"], wheeze["found"]) == (3, 3, 7)


def test_a_wider_collar_finds_more(tmp_path: Path) -> None:
    assert score(tmp_path, table(REFERENCE), table(FOUND), "--collar_s", "0.05")["event"]["f1"] == 0
    wide = score(tmp_path, table(REFERENCE), table(FOUND), "--collar_s", "1.2")
    assert wide["event"]["labels"]["wheeze"]["right"] == 2
    long = score(tmp_path, table(REFERENCE), table(FOUND), "--offset_share", "0.6")
    assert long["event"]["labels"]["wheeze"]["right"] == 2
    assert score(tmp_path, table(REFERENCE), table(FOUND), "--segment_s", "0.5")["segment"]["labels"]["wheeze"]["reference"] == 6


def made(recordings: int, seed: int) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    rows = []
    for number in range(recordings):
        for _ in range(generator.integers(0, 8)):
            onset = float(generator.uniform(0, 9))
            rows.append((f"r{number}", str(generator.choice(["wheeze", "crackle", "stridor"])), onset, onset + generator.uniform(0.2, 2)))
    return table(rows)


def test_sums_over_recordings_are_sed_eval_s_own() -> None:
    reference, labels = made(12, 0), ["wheeze", "crackle", "stridor"]
    # As annotated, but moved a little, with some lost and some added.
    moved = reference.assign(onset_s=reference["onset_s"] + 0.1).sample(frac=0.7, random_state=0)
    found = pd.concat([moved, made(12, 1).head(10)])
    names = [f"r{number}" for number in range(12)]
    counts = count(reference, found, names, labels, Criteria())
    figures = figures_of(counts, labels, np.array(names), resamples=20, seed=0)
    scorers = {
        "event": sed_eval.sound_event.EventBasedMetrics(event_label_list=labels, t_collar=0.2, percentage_of_length=0.5),
        "segment": sed_eval.sound_event.SegmentBasedMetrics(event_label_list=labels, time_resolution=1.0),
    }
    for name in names:
        lists = [
            [
                {"filename": name, "event_label": row.label, "event_onset": row.onset_s, "event_offset": row.offset_s}
                for row in rows.itertuples()
            ]
            for rows in (reference[reference["recording"] == name], found[found["recording"] == name])
        ]
        for scorer in scorers.values():
            scorer.evaluate(*lists)
    for criterion, scorer in scorers.items():
        of_all, of_label = scorer.results_overall_metrics(), scorer.results_class_wise_metrics()
        ours = figures[criterion]
        assert ours["f1"] == pytest.approx(of_all["f_measure"]["f_measure"])
        assert ours["error_rate"] == pytest.approx(of_all["error_rate"]["error_rate"])
        assert ours["macro_f1"] == pytest.approx(scorer.results_class_wise_average_metrics()["f_measure"]["f_measure"])
        for label in labels:
            for name in ("f_measure", "precision", "recall"):
                assert ours["labels"][label]["f1" if name == "f_measure" else name] == pytest.approx(of_label[label]["f_measure"][name])
            assert ours["labels"][label]["error_rate"] == pytest.approx(of_label[label]["error_rate"]["error_rate"])


def test_intervals_are_over_patients(tmp_path: Path) -> None:
    # Six recordings of two patients: those of one are found, those of the other are not.
    rows = [(f"r{number}", "wheeze", 1.0, 2.0) for number in range(6)]
    reference = table(rows).assign(patient=["p", "p", "p", "q", "q", "q"])
    by_patient = score(tmp_path, reference, table(rows[:3]), "--resamples", "400")
    assert (by_patient["over"], by_patient["groups"]) == ("patients", 2)
    # With both drawn F1 is 2 * 3 / (6 + 3); with one of them twice 1 or 0.
    assert by_patient["event"]["f1"] == pytest.approx(2 / 3) and by_patient["event"]["f1_ci"] == [0, 1]
    by_recording = score(tmp_path, table(rows), table(rows[:3]), "--resamples", "400")
    assert (by_recording["over"], by_recording["groups"]) == ("recordings", 6)
    low, high = by_recording["event"]["macro_f1_ci"]
    assert 0 < low < 2 / 3 < high <= 1


def test_a_label_without_annotated_events_has_no_figure(tmp_path: Path) -> None:
    figures = score(tmp_path, table(REFERENCE[:2]), table(FOUND), "--labels", "wheeze", "crackle")
    assert figures["event"]["labels"]["crackle"]["f1"] is None
    assert figures["event"]["macro_f1"] == figures["event"]["labels"]["wheeze"]["f1"]


def test_a_recording_without_events_counts_when_it_is_annotated(tmp_path: Path) -> None:
    empty = pd.concat([table(REFERENCE), pd.DataFrame([{"recording": "c"}])])
    false = table([*FOUND, ("c", "wheeze", 0.0, 1.0), ("not annotated", "wheeze", 0.0, 1.0)])
    assert score(tmp_path, empty, false)["event"]["labels"]["wheeze"]["found"] == 4
    assert score(tmp_path, table(REFERENCE), false)["event"]["labels"]["wheeze"]["found"] == 3


def test_events_of_a_model_against_a_manifest_of_events(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model.pt")
    spans = {"p0-a": [(3.0, 5.0), (8.0, 9.0)], "p0-b": [], "p1-a": [(2.0, 4.0)]}
    clips = []
    for name, events in spans.items():
        path = write_recording(tmp_path / "in" / f"{name}.wav", bursts(12, *events))
        # Breaths without anything, too: a recording of them alone is annotated, and has no event.
        for number, (start, end) in enumerate([*events, (10.0, 11.0)]):
            labels: dict[str, int | None] = {"loud": int((start, end) in events), "positive": 0}
            clips.append(Clip(f"{name}-{number}", str(path), name, start, end, patient=name[:2], labels=labels))
    # One that was heard and is not annotated, and one that is annotated and was not heard.
    write_recording(tmp_path / "in" / "other.wav", bursts(3, (1.0, 2.0)))
    clips.append(Clip("elsewhere", "elsewhere.wav", "elsewhere", 0.0, 1.0, patient="p2", labels={"loud": 1, "positive": 0}))
    write_manifest(tmp_path / "manifest.csv", to_table(clips))
    out = tmp_path / "out"
    main(["events", "--model", str(model), "--input", str(tmp_path / "in"), "--out", str(out), "--window_s", "0.2", "--hop_s", "0.02"])
    given = ["score-events", "--events", str(out / "events.csv"), "--reference", str(tmp_path / "manifest.csv"), "--resamples", "20"]
    figures = main(given)
    loud = figures["event"]["labels"]["loud"]
    assert (loud["right"], loud["reference"], loud["found"], loud["f1"]) == (3, 3, 3, 1.0)
    assert {name: figures[name] for name in ("recordings", "not_annotated", "not_heard", "over", "groups")} == {
        "recordings": 3,
        "not_annotated": 1,
        "not_heard": 1,
        "over": "patients",
        "groups": 2,
    }
    assert json.loads((out / "scores.json").read_text())["event"] == figures["event"]


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        ({"recording": "x"}, [], "have no recording in common"),
        ({"offset_s": 0.0}, [], "event 1 (a, wheeze, 1.1, 0.0): expected a recording"),
        ({"label": None}, [], "event 1 (a, , 1.1, 2.4)"),
        ({}, ["--collar_s", "0"], "--collar_s is 0"),
        ({}, ["--offset_share", "2"], "--offset_share is 2"),
        ({}, ["--resamples", "0"], "--resamples is 0"),
    ],
)
def test_wrong_tables_and_settings_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict, options: list[str], said: str
) -> None:
    table(REFERENCE).to_csv(tmp_path / "reference.csv", index=False)
    table(FOUND).assign(**change).to_csv(tmp_path / "found.csv", index=False)
    given = ["score-events", "--events", str(tmp_path / "found.csv"), "--reference", str(tmp_path / "reference.csv"), *options]
    assert said in sentence(capsys, given) and not (tmp_path / "scores.json").exists()


def test_a_manifest_needs_labels_for_a_table_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table(FOUND).to_csv(tmp_path / "found.csv", index=False)
    clips = [Clip("a-0", "a.wav", "a", 1.0, 2.0, labels={"wheeze": 1}), Clip("b-0", "b.wav", "b", 1.0, 2.0, labels={"wheeze": None})]
    write_manifest(tmp_path / "manifest.csv", to_table(clips))
    given = ["score-events", "--events", str(tmp_path / "found.csv"), "--reference", str(tmp_path / "manifest.csv")]
    assert "name the labels by --labels" in sentence(capsys, given)
    figures = main([*given, "--labels", "wheeze", "--resamples", "20"])
    assert figures["recordings"] == 1 and figures["event"]["labels"]["wheeze"]["right"] == 1
