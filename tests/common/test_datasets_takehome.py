"""The take-home layout: one set of clips and labels, written as many tables as people write, is one manifest."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from common.__main__ import main
from common.datasets.takehome import clips
from common.errors import UserError
from common.manifest import read_manifest

LABELS = ["normal", "wheeze", "crackle"]
TRUTH = {"0000": (1, 0, 0), "0001": (0, 1, 0), "0002": (0, 0, 1), "0003": (0, 1, 1)}
NAMES = ["normal", "wheeze", "crackle", "wheeze;crackle"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "train").mkdir()
    for name in TRUTH:
        soundfile.write(tmp_path / "train" / f"{name}.wav", np.zeros(800), 8000)
    return tmp_path


def _write(root: Path, columns: dict[str, list], name: str = "train.csv", **options) -> None:
    pd.DataFrame(columns).to_csv(root / name, index=False, **options)


def _labels(root: Path, **options) -> dict[str, tuple]:
    return {Path(clip.path).stem: tuple(clip.labels[label] for label in LABELS) for clip in clips(root, **options)}


ONE_HOT = {label: [truth[position] for truth in TRUTH.values()] for position, label in enumerate(LABELS)}
FILES = {
    "filename": [f"{name}.wav" for name in TRUTH],
    "ID": list(TRUTH),
    "path": [f"train/{name}.wav" for name in TRUTH],
    "Audio Path": [f"C:\\lungs\\train\\{name}.WAV" for name in TRUTH],
    "clip_id": [str(int(name)) for name in TRUTH],
    "recording": [f"{name}.flac" for name in TRUTH],
    "weird": list(TRUTH),
}
WAYS = {
    "names": {"label": NAMES},
    "comma": {"Labels": ["normal", "wheeze", "crackle", "crackle,wheeze"]},
    "bar": {"class": ["Normal", "Wheeze", "Crackle", "Wheeze|Crackle"]},
    "space": {"annotation": ["normal", "wheezes", "crackles", "wheezes crackles"]},
    "both": {"y": ["none", "wheeze", "crackle", "both"]},
    "one_hot": ONE_HOT,
    "other order": {"crackle": ONE_HOT["crackle"], "Normal": ONE_HOT["normal"], "WHEEZE": ONE_HOT["wheeze"]},
    "floats": {f"has_{label}s": [float(value) for value in ONE_HOT[label]] for label in ("wheeze", "crackle")},
    "booleans": {f"is {label}": [bool(value) for value in ONE_HOT[label]] for label in LABELS},
    "exclusive": {"normal": [1, 0, 0, 0], "wheeze": [0, 1, 0, 0], "crackle": [0, 0, 1, 0], "both": [0, 0, 0, 1]},
}


@pytest.mark.parametrize("column", FILES)
def test_any_way_to_name_the_file(root, column):
    _write(root, {**ONE_HOT, column: FILES[column]})
    assert _labels(root) == TRUTH


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_any_way_to_write_the_labels(root, way, separator):
    _write(root, {"age": [7, 1, 2, 50], "file": FILES["filename"], **WAYS[way], "comment": "none"}, sep=separator)
    assert _labels(root) == TRUTH


def test_command_keeps_patients_and_other_columns(root, tmp_path):
    _write(root, {"Patient ID": ["07", "07", "8", "8"], "filename": FILES["filename"], **ONE_HOT, "age": [3, 3, 4, 4], "path": ["a"] * 4})
    figures = main(["manifest", "takehome", "--root", str(root), "--out", str(tmp_path / "manifest.csv")])
    assert {name: figures[name] for name in ("clips", "recordings", "patients", "unreadable")} == {
        **{"clips": 4, "recordings": 4, "patients": 2, "unreadable": 0},
    }
    assert figures["labels"] == {"normal": 1, "wheeze": 2, "crackle": 2}
    table = read_manifest(tmp_path / "manifest.csv", LABELS)
    assert list(table["patient"]) == ["07", "07", "8", "8"] and list(table["age"]) == [3, 3, 4, 4]
    # A column of the table that has a manifest column's name, but is something else, does not overwrite it.
    assert list(table["table_path"]) == ["a"] * 4 and table["path"].str.endswith(".wav").all()
    assert list(table["recording"]) == list(TRUTH) and (table["duration_s"] == 0.1).all()


def test_dirt_is_left_for_the_audit(root):
    names = [*FILES["filename"], "0001.wav", "0001.wav", "9999.wav", "9998"]
    _write(root, {"filename": names, "normal": [1, 0, 0, 0, 0, 0, 1, 1], "wheeze": 1, "crackle": [0, 0, 1, 1, "", 0, 0, 0]})
    (root / "train" / "0002.wav").write_bytes(b"")
    found = list(clips(root))
    assert [clip.clip_id for clip in found] == [*TRUTH, "0001#2", "0001#3", "9999", "9998"]
    assert [Path(clip.path).is_file() for clip in found] == [True] * 6 + [False] * 2
    assert Path(found[-1].path).name == "9998.wav" and found[4].recording == "0001"
    assert found[0].labels == {"normal": 1, "wheeze": 1, "crackle": 0} and found[4].labels["crackle"] is None


def test_no_column_for_normal(root):
    _write(root, {"id": list(TRUTH), "wheeze": [0, 1, "", ""], "crackle": [0, 0, 1, 0]})
    assert [clip.labels["normal"] for clip in clips(root)] == [1, 0, 0, None]


def test_layouts(root):
    _write(root, {"id": list(TRUTH), "label": NAMES}, "labels.csv")
    assert _labels(root) == TRUTH
    shutil.move(root / "train", root / "sounds")
    assert _labels(root) == TRUTH
    shutil.move(root / "sounds", root / "labels")
    (root / "labels" / "deeper").mkdir()
    shutil.move(root / "labels" / "0003.wav", root / "labels" / "deeper")
    assert _labels(root) == TRUTH
    shutil.move(root / "labels.csv", root / "labels" / "all.csv")
    assert _labels(root, table=root / "labels" / "all.csv", audio=root / "labels") == TRUTH
    for path in (root / "labels").rglob("*.*"):
        shutil.move(path, root)
    assert _labels(root) == TRUTH


def test_options_decide(root):
    columns = {
        "a": FILES["filename"],
        "b": FILES["filename"][::-1],
        "n": ONE_HOT["normal"],
        "w": ONE_HOT["wheeze"],
        "c": ONE_HOT["crackle"],
        "t": NAMES,
    }
    _write(root, {**columns, "u": NAMES[::-1], "who": [1, 1, 2, 2]})
    with pytest.raises(UserError, match=r"columns t, u all hold such names: .*--label_column"):
        list(clips(root))
    with pytest.raises(UserError, match=r"a and b both do: name it by --file_column"):
        list(clips(root, label_column="t"))
    assert _labels(root, file_column="a", label_column="T") == TRUTH
    assert _labels(root, file_column="b", label_column="u") == TRUTH
    assert _labels(root, file_column="a", labels="normal=n, wheeze=w, crackle=c") == TRUTH
    assert [clip.patient for clip in clips(root, file_column="a", label_column="t", patient_column="who")] == ["1", "1", "2", "2"]


@pytest.mark.parametrize("values", [["0", "1", "2", "3"], ["0.0", "1.0", "2.0", "3.0"], [" 0", "1 ", "2", "3"]])
def test_codes_stand_for_labels(root, values):
    _write(root, {"ID": list(TRUTH), "class": values})
    assert _labels(root, label_column="class", codes="0=normal,1=wheeze,2=crackle,3=both") == TRUTH


def test_a_row_without_a_code_is_not_annotated(root):
    _write(root, {"ID": list(TRUTH), "class": ["0", "1", "", "3"]})
    assert _labels(root, label_column="class", codes="0=normal,1=wheeze,3=wheeze crackle") == TRUTH | {"0002": (None, None, None)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"codes": "0=normal,1=wheeze"}, "--label_column"),
        ({"codes": "0=normal,1=wheeze", "label_column": "class"}, "holds '2', '3', which --codes does not name"),
        ({"codes": "0=normal,0=wheeze", "label_column": "class"}, "'0=wheeze'"),
        ({"codes": "0=murmur", "label_column": "class"}, "'0=murmur'"),
        ({"codes": "0", "label_column": "class"}, "'0'"),
    ],
)
def test_codes_that_do_not_fit_are_refused(root, options, message):
    _write(root, {"ID": list(TRUTH), "wheeze": ONE_HOT["wheeze"], "crackle": ONE_HOT["crackle"], "class": ["0", "1", "2", "3"]})
    with pytest.raises(UserError, match=message):
        _labels(root, **options)


def test_label_names_of_their_own_need_the_option(root):
    _write(root, {"id": list(TRUTH), "label": ["normal", "wheeze", "Rhonchi", "wheeze, fine crackle"]})
    with pytest.raises(UserError, match=r"Cannot tell the labels .*label \('normal'\).*--label_column"):
        list(clips(root))
    found = [clip.labels for clip in clips(root, label_column="label")]
    assert found[2] == {"normal": 0, "wheeze": 0, "crackle": 0, "fine_crackle": 0, "rhonchi": 1}
    assert found[3] == {"normal": 0, "wheeze": 1, "crackle": 0, "fine_crackle": 1, "rhonchi": 0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,label\n0000,0\n0001,3\n", r"Cannot tell the labels .*it has the columns id \('0000'\), label \('0'\)"),
        ("id,wheeze,crackle\n0000,0,2\n0001,0,1\n", r"row 2, has '2' in column 'crackle': expected 1, 0 or nothing"),
        ("id,label\n0000,wheeze\n0001,wheeze,crackle\n", r"row 3, has 3 values for 2 columns: quote"),
        ("name,wheeze,crackle\nx,0,1\ny,1,0\n", r"Cannot tell which column .*name \('x'\).*4 audio files such as 0000\.wav.*--file_column"),
        ("id,wheeze,crackle,ID\n0000,0,1,0000\n", None),
        ("id,wheeze,crackle,id\n0000,0,1,0000\n", "two columns 'id'"),
        ("id,wheeze,crackle\n", "no rows"),
        ("", "no rows"),
        ("\x00\x00", "no rows|not a table"),
    ],
)
def test_one_sentence_says_what_was_seen_and_what_decides(root, text, message):
    (root / "train.csv").write_text(text)
    if message is None:
        assert len(list(clips(root))) == 1
        return
    with pytest.raises(UserError, match=message):
        list(clips(root))


def test_small_numbers_are_not_taken_for_numbered_files(root):
    _write(root, {"file": [f"lost_{name}.wav" for name in TRUTH], "age": [1, 40, 50, 60], **ONE_HOT})
    with pytest.raises(UserError, match="no column names a file for half of the 4 rows"):
        list(clips(root))


def test_a_named_column_without_a_single_file_is_refused(root):
    _write(root, {"file": [f"lost_{name}.wav" for name in TRUTH], **ONE_HOT})
    with pytest.raises(UserError, match=r"No row of .*train\.csv names a file .*'lost_0000\.wav'"):
        list(clips(root, file_column="file"))


def test_a_mistake_leaves_no_manifest_behind(root, tmp_path, capsys):
    _write(root, {"id": list(TRUTH), "label": [1, 2, 3, 4]})
    with pytest.raises(SystemExit) as exit_code:
        main(["manifest", "takehome", "--root", str(root), "--out", str(tmp_path / "out" / "manifest.csv")])
    captured = capsys.readouterr()
    assert exit_code.value.code == 1 and captured.out == ""
    assert captured.err.startswith("error: Cannot tell the labels") and captured.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_real_folder(shared_data):
    found = list(clips(shared_data / "takehome"))
    assert len(found) == 171 and len({clip.clip_id for clip in found}) == 171
    assert sum("#2" in clip.clip_id for clip in found) == 1
    assert sum(not Path(clip.path).is_file() for clip in found) == 1
    broken = [clip.clip_id for clip in found if clip.labels["normal"] == 1 and 1 in (clip.labels["wheeze"], clip.labels["crackle"])]
    assert broken == ["0167", "0169"]
