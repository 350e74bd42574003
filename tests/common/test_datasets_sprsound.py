"""SPRSound: records and events, two levels of labels, poor quality, and the publisher's several layouts."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from common.__main__ import main
from common.datasets.sprsound import EVENT_TYPES, LABELS, RECORD_CLASSES, TYPE_COLUMNS, clips
from common.errors import UserError
from common.manifest import read_manifest


def _recording(
    root: Path, name: str, record: str | None, *events: tuple, folders=("train2022_wav", "train2022_json"), suffix="wav", key="record"
):
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
    soundfile.write(root / folders[0] / f"{name}.{suffix}", np.zeros(8000), 8000)
    if record is not None:
        listed = [{"start": start, "end": end, "type": event_type} for start, end, event_type in events]
        annotation = {f"{key}_annotation": record, "event_annotation": listed}
        (root / folders[1] / f"{name}.json").write_text(json.dumps(annotation))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "sprsound"
    _recording(root, "101_3.4_0_p1_1", "CAS & DAS", ("0", "250", "Normal"), (250.0, 500, "Rhonchi"), ("500", "900", "Fine Crackle"))
    _recording(root, "101_3.4_0_p4_2", "Poor Quality")
    _recording(root, "202_0.2_1_p2_3", "CAS", ("100", "900", "Wheeze+Crackle"), key="recording")
    return root


def test_records(root, tmp_path):
    out = tmp_path / "manifest.csv"
    figures = main(["manifest", "sprsound", "--root", str(root), "--out", str(out)])
    assert (figures["clips"], figures["recordings"], figures["patients"], figures["poor_quality"]) == (3, 3, 2, 1)
    table = read_manifest(out, [*LABELS, *TYPE_COLUMNS.values()]).set_index("clip_id")
    both = table.loc["101_3.4_0_p1_1"]
    assert tuple(both[list(LABELS)]) == (0, 1, 1)
    assert tuple(both[["type_rhonchi", "type_fine_crackle", "type_wheeze", "type_stridor"]]) == (1, 1, 0, 0)
    assert tuple(both[["patient", "age_years", "sex", "site", "split", "record_class", "sample_rate", "duration_s"]]) == (
        *("101", 3.4, "M", "p1", "train", "CAS & DAS", 8000, 1.0),
    )
    poor = table.loc["101_3.4_0_p4_2"]
    assert poor["quality"] == "poor" and poor[[*LABELS, *TYPE_COLUMNS.values()]].isna().all()
    assert table.loc["202_0.2_1_p2_3", "sex"] == "F" and table.loc["202_0.2_1_p2_3", "type_wheeze_crackle"] == 1


def test_events(root, tmp_path):
    out = tmp_path / "manifest.csv"
    figures = main(["manifest", "sprsound", "--root", str(root), "--unit", "events", "--out", str(out)])
    assert figures["clips"] == 4
    table = read_manifest(out, [*LABELS, *TYPE_COLUMNS.values()]).set_index("clip_id")
    rhonchi = table.loc["101_3.4_0_p1_1-01"]
    assert (rhonchi["start_s"], rhonchi["end_s"], rhonchi["event_type"], rhonchi["record_class"]) == (0.25, 0.5, "Rhonchi", "CAS & DAS")
    assert tuple(rhonchi[[*LABELS, "type_rhonchi", "type_wheeze"]]) == (0, 1, 0, 1, 0)
    assert tuple(table.loc["101_3.4_0_p1_1-00"][list(LABELS)]) == (1, 0, 0)
    assert tuple(table.loc["202_0.2_1_p2_3-00"][[*LABELS, "type_wheeze", "type_wheeze_crackle"]]) == (0, 1, 1, 0, 1)


@pytest.mark.parametrize(
    "folders", [("train_wav", "train_json"), ("train_audio", "train_json"), ("wav", "json"), ("BioCAS/train2022_wav", "BioCAS/json")]
)
def test_layouts_and_containers(tmp_path, folders):
    _recording(tmp_path, "1_1.0_0_p1_1", "Normal", folders=folders, suffix="flac")
    (clip,) = clips(tmp_path)
    assert clip.labels["normal"] == 1 and clip.path.endswith("1_1.0_0_p1_1.flac")


def test_test_folders_are_read_only_when_asked_for(root):
    _recording(root, "303_1.0_0_p1_9", "Normal", folders=("test2022_wav", "test2022_json"))
    assert {clip.patient for clip in clips(root)} == {"101", "202"}
    (clip,) = clips(root / "test2022_wav", annotations=root / "test2022_json")
    assert (clip.patient, clip.split) == ("303", "test")


def test_what_is_missing_stays_unknown(root):
    (root / "train2022_wav" / "202_0.2_1_p2_3.wav").unlink()
    (root / "train2022_json" / "101_3.4_0_p1_1.json").unlink()
    records = {clip.recording: clip for clip in clips(root)}
    assert set(records["101_3.4_0_p1_1"].labels.values()) == {None} and records["101_3.4_0_p1_1"].quality == ""
    assert not Path(records["202_0.2_1_p2_3"].path).exists() and records["202_0.2_1_p2_3"].labels["wheeze"] == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not an SPRSound annotation"),
        ("[]", "not an SPRSound annotation"),
        ('{"event_annotation": []}', "not an SPRSound annotation .*recording_annotation"),
        (
            '{"record_annotation": "Odd", "event_annotation": []}',
            "annotation 'Odd': expected one of Normal, CAS, DAS, CAS & DAS, Poor Quality",
        ),
        ('{"record_annotation": "CAS", "event_annotation": [{"start": "soon", "end": 1, "type": "Wheeze"}]}', "not an SPRSound annotation"),
        ('{"record_annotation": "CAS", "event_annotation": [{"start": 0, "end": 1, "type": "Squawk"}]}', "annotation 'Squawk'"),
    ],
)
def test_an_annotation_that_is_not_as_published_is_named(root, text, message):
    (root / "train2022_json" / "101_3.4_0_p1_1.json").write_text(text)
    with pytest.raises(UserError, match=rf"101_3\.4_0_p1_1\.json .*{message}"):
        list(clips(root))


def test_what_cannot_be_found_is_named(root, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"No SPRSound recordings.*check --root"):
        list(clips(tmp_path / "empty"))
    with pytest.raises(UserError, match=r"No SPRSound annotations.*check --annotations"):
        list(clips(root / "train2022_wav"))
    _recording(root, "1_1.0_0_p1_1", "Normal", folders=("train_wav", "train_json"))
    with pytest.raises(UserError, match=r"several folders .*train2022_wav.*train_wav"):
        list(clips(root))


@settings(deadline=None, max_examples=40)
@given(st.text(st.sampled_from("0123456789_.pxMF "), min_size=1, max_size=24).filter(lambda name: name.strip(". ")))
def test_a_name_is_either_read_whole_or_refused(tmp_path_factory, name):
    folder = tmp_path_factory.mktemp("names")
    (folder / f"a{name}.wav").write_bytes(b"")
    try:
        (clip,) = clips(folder, annotations=folder)
    except UserError as error:
        assert "PATIENT_AGE_SEX_LOCATION_RECORDING" in str(error)
    else:
        patient, age, sex, site, number = f"a{name}".split("_")
        assert (clip.patient, clip.site, clip.metadata["recording_index"]) == (patient, site, number)
        assert clip.metadata["age_years"] == float(age) and clip.metadata["sex"] == "MF"[int(sex)]


@given(st.sampled_from([*RECORD_CLASSES, *EVENT_TYPES]))
def test_every_class_maps_to_labels_that_obey_the_rule(name):
    labels = RECORD_CLASSES.get(name, frozenset()) | EVENT_TYPES.get(name, frozenset())
    assert labels <= set(LABELS) and ("normal" not in labels or labels == {"normal"})


def test_the_real_recordings(shared_data):
    records = list(clips(shared_data / "sprsound"))
    assert len(records) == 1949 and len({clip.patient for clip in records}) == 251
    counts = {name: sum(clip.classes["record_class"] == name for clip in records) for name in RECORD_CLASSES}
    assert counts == {"Normal": 1303, "DAS": 248, "Poor Quality": 177, "CAS": 126, "CAS & DAS": 95}
    assert [sum(clip.labels[label] == 1 for clip in records) for label in LABELS] == [1303, 221, 343]
    without_wheeze = [
        clip for clip in records if clip.labels["wheeze"] and not (clip.labels["type_wheeze"] or clip.labels["type_wheeze_crackle"])
    ]
    assert len(without_wheeze) == 18
    events = list(clips(shared_data / "sprsound", "events"))
    counts = {name: sum(clip.classes["event_type"] == name for clip in events) for name in EVENT_TYPES}
    assert counts == {
        **{"Normal": 5159, "Fine Crackle": 912, "Wheeze": 452, "Coarse Crackle": 49},
        **{"Rhonchi": 39, "Wheeze+Crackle": 30, "Stridor": 15},
    }
    assert len(events) == 6656 and all(clip.end_s > clip.start_s >= 0 for clip in events)
