"""The manifest's contract: what is written is read back, and a fault is named by file, row and column."""

import math
from pathlib import Path

import pandas as pd
import pytest

from common.errors import UserError
from common.manifest import Clip, data_hash, groups, has_patients, read_manifest, to_table, write_manifest

CLIPS = [
    Clip("a-00", "/data/a.wav", "a", 0.5, 1.5, 4000, 9.0, "007", "Meditron", "Al", "train", "", {"wheeze": 1, "crackle": 0}),
    Clip("b", "/data/b.wav", "b", quality="poor", labels={"wheeze": None, "crackle": None}, classes={"diagnosis": "COPD"}),
]


def _csv(folder: Path, text: str) -> Path:
    path = folder / "manifest.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_manifest_comes_back_as_it_was_written(tmp_path, suffix):
    path = tmp_path / f"manifest.{suffix}"
    write_manifest(path, to_table(CLIPS))
    table = read_manifest(path, labels=["wheeze", "crackle"])
    assert list(table["patient"]) == ["007", ""]
    assert list(table["quality"]) == ["", "poor"]
    assert table["end_s"][0] == 1.5 and math.isnan(table["end_s"][1])
    assert table["sample_rate"][0] == 4000 and math.isnan(table["sample_rate"][1])
    assert table["wheeze"][0] == 1 and table["crackle"][0] == 0 and table["wheeze"].isna()[1]
    assert table["diagnosis"][1] == "COPD"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_text_stays_as_it_is_and_both_formats_say_the_same(tmp_path, suffix):
    words = ["001", "NA", "None", "1e3", "true", "", "nan "]
    clips = [Clip(f"0{number}", "/x.wav", word, patient=word, site=word, labels={"wheeze": None}) for number, word in enumerate(words)]
    path = tmp_path / f"manifest.{suffix}"
    write_manifest(path, to_table(clips))
    table = read_manifest(path, ["wheeze"])
    assert list(table["patient"]) == list(table["site"]) == words
    assert list(table["recording"]) == [word or "05" for word in words]
    assert table["wheeze"].isna().all()
    assert data_hash(table) == data_hash(read_manifest(_csv(tmp_path, to_table(clips).to_csv(index=False))))


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_line_ends_a_bom_and_empty_columns_of_other_programs(tmp_path, ends, bom):
    lines = ["clip_id,path,wheeze,crackle,patient,split,note", "01,a.wav,1,,001,,NA", "02,b.wav,NA,,,,"]
    path = tmp_path / "manifest.csv"
    path.write_bytes((bom + ends.join(lines) + ends).encode())
    table = read_manifest(path, ["wheeze", "crackle"])
    assert list(table["clip_id"]) == ["01", "02"] and list(table["patient"]) == ["001", ""] and list(table["split"]) == ["", ""]
    assert list(table["wheeze"].fillna(-1)) == [1, -1] and table["crackle"].isna().all() and table["note"].isna().all()


def test_only_an_id_and_a_path_are_needed(tmp_path):
    table = read_manifest(_csv(tmp_path, "clip_id,path\n001,x.wav\n"))
    assert (table["clip_id"][0], table["recording"][0], table["start_s"][0], table["patient"][0]) == ("001", "001", 0.0, "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,path\na,b\n", r"no column 'clip_id' \(it has name, path\)"),
        ("clip_id,path\n", "no rows"),
        ("clip_id,path\na,x\na,y\n", "row 3, clip 'a' repeats a clip_id"),
        ("clip_id,path\na,x\n,y\n", "row 3, clip '' has no clip_id"),
        ("clip_id,path,start_s,end_s\na,x,2,1\n", "row 2, clip 'a' ends before it starts"),
        ("clip_id,path,start_s\na,x,-1\n", "row 2, clip 'a' starts before 0 s"),
        ("clip_id,path,start_s\na,x,soon\n", "row 2, clip 'a' has no number in 'start_s'"),
        ("clip_id,path,end_s\na,x,inf\n", "row 2, clip 'a' has no number in 'end_s'"),
        ("clip_id,path\na,x\n", "no label column 'wheeze'"),
        ("clip_id,path,wheeze\na,x,1\nb,y,2\nc,z,3\n", r"row 3, clip 'b' \(and 1 more rows\) has a value other than 1, 0 or empty"),
        ("clip_id,path,wheeze\na,x,yes\n", "has no number in 'wheeze'"),
    ],
)
def test_a_fault_is_named(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        read_manifest(_csv(tmp_path, text), labels=["wheeze"])


@pytest.mark.parametrize("name", ["manifest.csv", "manifest.parquet"])
def test_a_missing_manifest_is_named(tmp_path, name):
    with pytest.raises(UserError, match=f"No .* at .*{name}"):
        read_manifest(tmp_path / name)


def test_what_is_no_parquet_is_named(tmp_path):
    (tmp_path / "manifest.parquet").write_text("clip_id,path\na,x\n")
    with pytest.raises(UserError, match=r"manifest\.parquet does not open as Parquet: make it again"):
        read_manifest(tmp_path / "manifest.parquet")


def test_clips_without_a_patient_are_grouped_by_recording():
    table = pd.DataFrame({"patient": ["1", "", ""], "recording": ["a", "b", "1"]})
    assert list(groups(table)) == ["patient:1", "recording:b", "recording:1"]
    assert not has_patients(table) and has_patients(table[:1])


def test_the_data_hash_depends_on_the_data_only(tmp_path):
    write_manifest(tmp_path / "manifest.csv", to_table(CLIPS))
    table = read_manifest(tmp_path / "manifest.csv", ["wheeze"])
    known = data_hash(table, ["wheeze"])
    assert data_hash(table[::-1].assign(path="elsewhere.wav"), ["wheeze"]) == known
    assert data_hash(table.assign(wheeze=0.0), ["wheeze"]) != known
    assert data_hash(table.assign(patient="x"), ["wheeze"]) != known
