"""Files are whole or not there, and a table's text is what was written."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest

from common.errors import UserError
from common.files import atomic_path, read_csv, write_csv, write_json, write_text


def test_a_file_is_replaced_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    write_text(tmp_path / "deep" / "a.txt", "old")
    with pytest.raises(RuntimeError, match="halfway"), atomic_path(tmp_path / "deep" / "a.txt") as temporary:
        temporary.write_text("half")
        raise RuntimeError("halfway")
    assert (tmp_path / "deep" / "a.txt").read_text() == "old"
    write_text(tmp_path / "deep" / "a.txt", "new")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.txt"]
    assert (tmp_path / "deep" / "a.txt").read_text() == "new"


def test_a_result_is_as_readable_as_any_other_file(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_text(tmp_path / "a.txt", "x")
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o644


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    for path in (tmp_path / "file" / "a.txt", tmp_path / "folder"):
        with pytest.raises(UserError, match=rf"Cannot write {path} \(.*\): choose a place"):
            write_text(path, "y")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_json_has_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert not list(tmp_path.iterdir())
    write_json(tmp_path / "a.json", {"x": None})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": None}


def test_floats_keep_all_digits_and_text_columns_their_text(tmp_path: Path) -> None:
    table = pd.DataFrame({"name": ["007", "NA", ""], "value": [0.1 + 0.2, 1 / 3, float("nan")]})
    write_csv(tmp_path / "a.csv", table)
    pd.testing.assert_frame_equal(read_csv(tmp_path / "a.csv", text=("name", "absent")), table, check_dtype=False)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00a", b'a,b\n"open,1\n', b"a,b\n1,2,3,4\n1,2\n1,2,3,4,5\n"])
def test_what_is_no_table_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    for text in ((), ("a",)):
        with pytest.raises(UserError, match=r"a\.csv is not a table that can be read"):
            read_csv(tmp_path / "a.csv", text=text)
