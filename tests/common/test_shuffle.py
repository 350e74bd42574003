"""The shuffled-label control: another patient's labels for everyone, and nothing else changed."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.__main__ import main
from common.errors import UserError
from common.manifest import Clip, groups, read_manifest, to_table, write_manifest
from common.shuffle import move_events, shuffle_labels

LABELS = ["normal", "wheeze", "crackle"]


def table_of(clips_per_patient: list[int], seed: int = 0) -> pd.DataFrame:
    """Patients with so many clips each, in mixed order, with random labels, some clips of poor quality without any."""
    generator = np.random.default_rng(seed)
    clips = []
    for patient, count in enumerate(clips_per_patient):
        for number in range(count):
            wheeze, crackle = map(int, generator.integers(0, 2, 2))
            labels: dict[str, int | None] = {"normal": int(wheeze + crackle == 0), "wheeze": wheeze, "crackle": crackle}
            poor = generator.random() < 0.2
            name = f"{patient}-{number}"
            clip = Clip(name, f"/{name}.wav", name, patient=f"{patient:03d}", quality="poor" if poor else "", metadata={"age": patient})
            clips.append(Clip(**{**vars(clip), "labels": dict.fromkeys(LABELS) if poor else labels}))
    table = to_table(clips).sample(frac=1, random_state=seed).reset_index(drop=True)
    return table.astype(dict.fromkeys(LABELS, float))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=2, max_size=12), st.integers(0, 1000))
def test_every_clip_gets_one_whole_set_of_labels_and_nobody_own_ones(clips_per_patient: list[int], seed: int) -> None:
    table = table_of(clips_per_patient, seed)
    shuffled, origin = shuffle_labels(table, LABELS, seed)
    assert sorted(origin) == list(range(len(table))), "every set of labels is dealt out once"
    moving = [*LABELS, "quality"]
    pd.testing.assert_frame_equal(shuffled[moving], table[moving].iloc[origin].reset_index(drop=True))
    pd.testing.assert_frame_equal(shuffled.drop(columns=moving), table.drop(columns=moving))
    group = groups(table).to_numpy()
    most = max(clips_per_patient)
    assert (group == group[origin]).sum() == max(2 * most - len(table), 0), "only where one patient has most clips some stay"


def test_labels_of_one_patient_stay_together() -> None:
    table = table_of([6] * 20)
    group = groups(table)
    _, origin = shuffle_labels(table, LABELS, 0)
    receivers = pd.Series(group.to_numpy()).groupby(group.to_numpy()[origin]).nunique()
    assert receivers.max() <= 2, "the labels of equally large patients reach two neighbours at most"


def test_the_labels_no_longer_follow_the_patients() -> None:
    """A patient-wise label: the new one agrees with the old one as often as chance would have it, and another seed deals anew."""
    table = table_of([5] * 200)
    ill = groups(table).map({name: index % 2 for index, name in enumerate(sorted(groups(table).unique()))})
    table["wheeze"] = ill.astype(float)
    agreement = [float((shuffle_labels(table, LABELS, seed)[0]["wheeze"] == ill).mean()) for seed in range(20)]
    assert np.mean(agreement) == pytest.approx(0.5, abs=0.05)
    assert len(set(agreement)) > 5


def shuffle(folder: Path, *options: str) -> dict:
    return main(["shuffle", "--manifest", str(folder / "manifest.csv"), "--out", str(folder / "out" / "shuffled.csv"), *options])


def test_the_command_writes_the_same_manifest_for_the_same_seed(tmp_path: Path) -> None:
    write_manifest(tmp_path / "manifest.csv", table_of([3, 4, 5, 6]))
    before = read_manifest(tmp_path / "manifest.csv", LABELS)
    figures = shuffle(tmp_path, "--seed", "3")
    assert (figures["clips"], figures["moved"]) == (18, 1.0)
    first = (tmp_path / "out" / "shuffled.csv").read_bytes()
    shuffle(tmp_path, "--seed", "4")
    assert (tmp_path / "out" / "shuffled.csv").read_bytes() != first
    shuffle(tmp_path, "--seed", "3")
    assert (tmp_path / "out" / "shuffled.csv").read_bytes() == first
    after = read_manifest(tmp_path / "out" / "shuffled.csv", LABELS)
    assert after[LABELS].sum().tolist() == before[LABELS].sum().tolist()
    assert list(after["patient"]) == list(before["patient"])


@pytest.mark.parametrize(
    ("clips_per_patient", "options", "words"),
    [
        ([2, 2], ["--labels", "normal,stridor"], "no label column 'stridor'"),
        ([2, 2], ["--labels", ","], "--labels names no label"),
        ([3], [], "clips of 'patient 000' only"),
        ([2, 2], ["--out", "{manifest}"], "would overwrite"),
        ([2, 2], ["--out", "{manifest}.txt"], "ends in .csv or .parquet"),
    ],
)
def test_a_mistake_is_one_sentence_and_changes_nothing(
    tmp_path: Path, clips_per_patient: list[int], options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = tmp_path / "manifest.csv"
    write_manifest(manifest, table_of(clips_per_patient))
    before = manifest.read_bytes()
    with pytest.raises(SystemExit) as stopped:
        shuffle(tmp_path, *(option.format(manifest=manifest) for option in options))
    error = capsys.readouterr().err
    assert stopped.value.code == 1
    assert error.startswith("error: ") and words in error and error.count("\n") == 1
    assert manifest.read_bytes() == before and [path.name for path in tmp_path.iterdir()] == ["manifest.csv"]


def events_of(table: pd.DataFrame) -> pd.DataFrame:
    """Each record's labels in an event of its own second, and a last event at 9 s."""
    clips = []
    for number, (name, labels) in enumerate(zip(table["recording"], table[LABELS].to_dict("records"), strict=True)):
        for index, start_s in enumerate((number / 100, 9.0)):
            known = {label: None if np.isnan(value) else int(value) for label, value in labels.items()}
            clips.append(Clip(f"{name}-{index}", f"/{name}.wav", name, start_s, start_s + 1, patient=name.split("-")[0], labels=known))
    return to_table(clips)


def test_events_go_where_the_labels_of_their_recording_go(tmp_path: Path) -> None:
    table = table_of([3, 4, 5, 6]).assign(duration_s=10.0)
    table.loc[2, "duration_s"] = 9.5
    table.loc[3, "duration_s"] = 8.0
    events = events_of(table)
    write_manifest(tmp_path / "manifest.csv", table)
    write_manifest(tmp_path / "events.csv", events)
    out = tmp_path / "out" / "events.csv"
    figures = shuffle(tmp_path, "--events", str(tmp_path / "events.csv"), "--events_out", str(out))
    assert figures["events"] == 2 * 18 - 1, "one has no room in the recording of 8 s"
    records, moved = (read_manifest(path, LABELS).set_index("recording") for path in (tmp_path / "out" / "shuffled.csv", out))
    _, origin = shuffle_labels(table, LABELS, 0)
    for receiver, source in enumerate(origin):
        name = table["recording"][receiver]
        of_record = moved.loc[[name]]
        assert of_record["start_s"].iloc[0] == source / 100 and set(of_record["patient"]) == {records.loc[name, "patient"]}
        assert set(of_record["path"]) == {table["path"][receiver]}
        for label in LABELS:
            np.testing.assert_array_equal(of_record[label], np.repeat(records.loc[name, label], len(of_record)))
    cut, short = table["recording"][2], table["recording"][3]
    assert list(moved.loc[[cut], "end_s"])[-1] == 9.5 and list(moved.loc[[short], "end_s"]) == [origin[3] / 100 + 1]


def test_events_without_a_way_to_go_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = table_of([3, 4, 5])
    events = events_of(table)
    with pytest.raises(UserError, match="one clip per recording"):
        move_events(table.assign(recording="same"), np.arange(12), events)
    write_manifest(tmp_path / "manifest.csv", table)
    write_manifest(tmp_path / "events.csv", events)
    for options, said in (
        (["--events", str(tmp_path / "events.csv")], "belong together"),
        (["--events", str(tmp_path / "events.csv"), "--events_out", str(tmp_path / "events.csv")], "would overwrite"),
    ):
        with pytest.raises(SystemExit):
            shuffle(tmp_path, *options)
        assert said in capsys.readouterr().err and not (tmp_path / "out").exists()
