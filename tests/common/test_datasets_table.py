"""Any table: the column map, and how what a table calls a file finds it."""

import re
import string
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from common.__main__ import main
from common.datasets.audio_files import AudioFiles
from common.datasets.text_table import read_table
from common.errors import UserError
from common.manifest import read_manifest


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for name in ("a/1.wav", "b/1.wav", "b/2.wav"):
        soundfile.write(tmp_path / name, np.zeros(8000), 8000)
    return tmp_path


def _manifest(root: Path, *options: str, labels: tuple[str, ...] = ()) -> pd.DataFrame:
    main(["manifest", "table", "--root", str(root), "--out", str(root / "out" / "manifest.csv"), *options])
    return read_manifest(root / "out" / "manifest.csv", labels)


def test_a_map_of_columns(root):
    (root / "data.csv").write_text(
        "wav,subject,from,to,CAS,coarse,fine,dx,age\na/1.wav,7,0,0.5,1,0,1,COPD,60\na/1.wav,7,0.5,1,0,0,,COPD,60\nb/1.wav,8,0,1,0,0,0,,\n"
    )
    options = ["--path_column", "wav", "--patient_column", "subject", "--start_column", "from", "--end_column", "to"]
    labels = "wheeze=CAS,crackle=coarse,crackle=fine"
    table = _manifest(root, *options, "--labels", labels, "--class_columns", "dx", labels=("wheeze", "crackle"))
    assert list(table["clip_id"]) == ["a/1", "a/1#2", "b/1"] and list(table["recording"]) == ["a/1", "a/1", "b/1"]
    assert list(table["start_s"]) == [0, 0.5, 0] and list(table["end_s"]) == [0.5, 1, 1] and (table["duration_s"] == 1).all()
    assert list(table["patient"]) == ["7", "7", "8"] and list(table["dx"].fillna("")) == ["COPD", "COPD", ""]
    assert list(table["wheeze"]) == [1, 0, 0]
    # Two columns are one label: there when one says so, unknown when one is empty and the other does not say so.
    assert list(table["crackle"].fillna(-1)) == [1, -1, 0]
    assert list(table["age"].fillna(-1)) == [60, 60, -1]


def test_a_table_is_named_from_here_or_from_its_folder(root, monkeypatch):
    (root / "labels.csv").write_text("wav\na/1.wav\n")
    options = ["--table", "labels.csv", "--path_column", "wav"]
    assert list(_manifest(root, *options)["clip_id"]) == ["a/1"]
    (root / "b" / "labels.csv").write_text("wav\nb/2.wav\n")
    monkeypatch.chdir(root / "b")
    assert list(_manifest(root, *options)["clip_id"]) == ["b/2"]


def test_the_manifest_s_own_names_need_no_option(root):
    (root / "data.csv").write_text("Path,Patient,device,quality,clip_id\nb/2,x,Litt,poor,first\na/1,y,,,second\n")
    table = _manifest(root)
    assert list(table["clip_id"]) == ["first", "second"] and list(table["patient"]) == ["x", "y"]
    assert list(table["device"]) == ["Litt", ""] and list(table["quality"]) == ["poor", ""]


def test_words_for_missing_name_no_patient_and_poor_is_read_in_any_case(root):
    (root / "data.csv").write_text("path,patient,quality\na/1,NA,Poor Quality\nb/1,?,good\nb/2,001,POOR\n")
    table = _manifest(root)
    assert list(table["patient"]) == ["", "", "001"] and list(table["quality"]) == ["poor", "good", "poor"]


def test_a_manifest_is_a_table(root):
    (root / "data.csv").write_text("path,wheeze\nb/2,1\na/1,\n")
    first = _manifest(root, "--labels", "wheeze", labels=("wheeze",))
    again = _manifest(root, "--labels", "wheeze", "--table", str(root / "out" / "manifest.csv"), labels=("wheeze",))
    pd.testing.assert_frame_equal(again[first.columns], first)


def test_a_column_of_names(root):
    (root / "data.csv").write_text("path,tags\na/1,Rhonchi;Fine Crackle\nb/1,normal\nb/2,\n")
    table = _manifest(root, "--label_column", "tags", labels=("rhonchi", "fine_crackle", "normal"))
    assert list(table["rhonchi"].fillna(-1)) == [1, 0, -1] and list(table["normal"].fillna(-1)) == [0, 1, -1]


def test_parquet(root):
    (root / "data.csv").write_text("path,note\na/1,\nb/1,x\n")
    figures = main(["manifest", "table", "--root", str(root), "--out", str(root / "manifest.parquet")])
    assert figures["clips"] == len(read_manifest(root / "manifest.parquet")) == 2


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        ("wav\na/1.wav\n", [], r"no column 'path' \(it has wav\): name the files' column by --path_column"),
        ("wav\na/1.wav\n", ["--path_column", "file"], r"no column 'file' \(it has wav\): correct --path_column"),
        ("path\na/1\n", ["--labels", "wheeze"], "no column 'wheeze'"),
        ("path\na/1\n", ["--patient_column", "who"], "no column 'who' .*correct --patient_column"),
        ("path\na/1\n", ["--start_column", "when"], "no column 'when' .*correct --start_column"),
        ("path,site\na/1,0\n", ["--labels", "site"], "cannot be called 'site'"),
        ("path,start_s\na/1,soon\n", [], "row 2, has 'soon' in column 'start_s': expected seconds"),
        ("path,end_s\na/1,inf\n", [], "row 2, has 'inf' in column 'end_s': expected seconds"),
        ("path,w\na/1,1\nb/1,3\n", ["--labels", "wheeze=w"], "row 3, has '3' in column 'w'"),
        ("path\n1\n", [], r"'1' may be a/1\.wav or b/1\.wav"),
        ("path\nc/9.wav\n", [], "No row of"),
        ("path\na/1\n", ["--table", "nowhere.csv"], r"No table at nowhere\.csv"),
        ("path\na/1\n", ["--out", "manifest.txt"], r"ends in \.csv or \.parquet"),
    ],
)
def test_a_mistake_is_one_sentence(root, table, options, message, capsys):
    (root / "data.csv").write_text(table)
    with pytest.raises(SystemExit):
        _manifest(root, *options)
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and re.search(message, error), error


def test_a_folder_without_a_table_is_recordings_without_labels(root):
    (root / "b" / "notes.txt").write_text("no recording")
    table = _manifest(root)
    assert list(table["recording"]) == ["a/1", "b/1", "b/2"] and (table["duration_s"] == 1).all()


def test_a_folder_without_recordings_is_refused(root, capsys):
    (root / "empty").mkdir()
    with pytest.raises(SystemExit):
        _manifest(root / "empty")
    assert "names a file" in capsys.readouterr().err


def test_several_tables_need_the_option(root):
    (root / "one.csv").write_text("path\na/1\n")
    (root / "two.csv").write_text("path\nb/1\n")
    with pytest.raises(SystemExit):
        _manifest(root)
    assert list(_manifest(root, "--table", str(root / "two.csv"))["recording"]) == ["b/1"]


CELL = st.text(st.sampled_from(string.ascii_letters + string.digits + " ,;\t|'\"é\n"), max_size=8).map(str.strip)


@settings(deadline=None, max_examples=80)
@given(st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=5), st.sampled_from([",", ";", "\t"]), st.booleans())
def test_a_table_is_read_as_it_was_written(tmp_path_factory, rows, separator, bom):
    path = tmp_path_factory.mktemp("table") / "table.csv"
    written = pd.DataFrame(rows, columns=["one", "two", "three"])
    written.to_csv(path, index=False, sep=separator, encoding="utf-8-sig" if bom else "utf-8", quoting=1)
    expected = [row for row in rows if any(row)]
    if not expected:
        with pytest.raises(UserError, match="no rows"):
            read_table(path)
    else:
        table = read_table(path)
        assert list(table.columns) == ["one", "two", "three"]
        assert [tuple(row) for row in table.itertuples(index=False)] == expected


def _touch(root: Path, *names: str) -> AudioFiles:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return AudioFiles(root.resolve())


def test_the_strictest_reading_wins(tmp_path):
    files = _touch(tmp_path / "train", "007.wav", "7.wav", "A.wav", "deep/b.flac", "x_6.4_1.wav", "notes.txt", "._7.wav")
    expected = {
        **{"7": "7.wav", "007": "007.wav", "a": "A.wav", "a.WAV": "A.wav", "b": "deep/b.flac", "b.wav": "deep/b.flac"},
        **{"deep/b": "deep/b.flac", "other/b": None, "train/7.wav": "7.wav", "/far/away/train/007.wav": "007.wav"},
        **{"test/7.wav": None, "x_6.4_1": "x_6.4_1.wav", "notes.txt": "notes.txt", "": None, ".": None, "..": None, "y" * 5000: None},
    }
    for name, path in expected.items():
        assert files.find(name) == (path and files.folder / path), name[:20]
    for number in ("07", "0" * 5000 + "7"):
        assert files.matches(number) == [files.folder / "007.wav", files.folder / "7.wav"]
        with pytest.raises(UserError, match=r"may be 007\.wav or 7\.wav"):
            files.find(number)


NAME = st.text(st.sampled_from(string.ascii_letters + string.digits + "_-."), min_size=1, max_size=10).filter(
    lambda name: name.strip(".")[:1] == name[:1]
)


@settings(deadline=None, max_examples=60)
@given(st.sets(NAME, min_size=1, max_size=6), st.text(max_size=20))
def test_every_file_is_found_by_its_path_and_no_text_breaks_the_search(tmp_path_factory, names, text):
    files = _touch(tmp_path_factory.mktemp("files"), *(f"{name}.wav" for name in names))
    for path in files.paths:
        assert files.find(path.name) == path and files.find(str(path)) == path
    assert len(files.paths) == len({path.name for path in files.paths}) == len(names)
    assert all(path in files.paths for path in files.matches(text)) or (files.folder / text).is_file()
