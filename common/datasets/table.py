"""Any table of recordings, with a map from its columns to the manifest's."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite, nan
from pathlib import Path
from typing import Any

import pandas as pd

from common.datasets.audio_files import AudioFiles, existing_folder
from common.datasets.labels import MISSING, any_of, parse_flag, parse_labels
from common.datasets.text_table import find_column, named_table, only_table, read_table, tables_in
from common.datasets.writing import make_manifest
from common.errors import UserError
from common.manifest import COLUMNS as MANIFEST_COLUMNS
from common.manifest import NUMBER_COLUMNS, Clip
from common.progress import say

MAPPED = tuple(name for name in MANIFEST_COLUMNS if name not in ("path", "sample_rate", "duration_s"))
# How tables write what the manifest's quality column calls "poor".
POOR = ("poor", "poor quality")


@dataclass(frozen=True)
class ColumnMap:
    """Which column of a table says what; columns that are not named here become metadata.

    Attributes:
        path: column with the recording's path, file name or id, see `AudioFiles`.
        mapped: manifest column (one of ``MAPPED``) -> the table's column.
        flags: (label, column) pairs of columns that hold 1, 0 or nothing; a label with several columns is there when one says so.
        names: column that holds the names of a row's labels, see `parse_labels`; None where there is no such column.
        vocabulary: labels that every row with a value in ``names`` answers, beside those that occur in it.
        classes: columns to keep as classes.
    """

    path: str
    mapped: Mapping[str, str] = field(default_factory=dict)
    flags: Sequence[tuple[str, str]] = ()
    names: str | None = None
    vocabulary: Sequence[str] = ()
    classes: Sequence[str] = ()

    @property
    def used(self) -> set[str]:
        """Columns of the table that do not become metadata."""
        used = {self.path, *self.mapped.values(), *self.classes, *(column for _, column in self.flags)}
        return used if self.names is None else used | {self.names}


def manifest(
    root: Path,
    out: Path,
    table: Path | None = None,
    path_column: str | None = None,
    labels: str = "",
    label_column: str | None = None,
    class_columns: str = "",
    clip_id_column: str | None = None,
    recording_column: str | None = None,
    start_column: str | None = None,
    end_column: str | None = None,
    patient_column: str | None = None,
    device_column: str | None = None,
    site_column: str | None = None,
    split_column: str | None = None,
    quality_column: str | None = None,
) -> dict[str, Any]:
    """Make a manifest from any CSV (say which of its columns is what, all others are kept as metadata) or from any folder.

    A column that has the manifest's own name for it (path, patient, start_s, ...) needs no option.

    Args:
        root: folder of the recordings; paths in the table are relative to it.
        out: manifest to write, .csv or .parquet.
        table: the table, also by its name in ``root``: UTF-8 with a header row, parted by commas, semicolons or tabs. By default
            the only CSV file in ``root``; where there is none, every recording in ``root`` is a clip without labels, for pretraining.
        path_column: column with each row's path, file name or id without suffix.
        labels: columns that hold 1, 0 or nothing, parted by commas; ``label=column`` where the label should have another name, as
            in ``wheeze=CAS,crackle=DAS``. Without labels the manifest serves pretraining.
        label_column: column with the names of a row's labels, as in ``wheeze;crackle``, in place of ``labels``.
        class_columns: columns to keep as classes (a diagnosis, for example), parted by commas.
        clip_id_column: column with a name for every row; the recording's name by default, with #2, #3 ... where it repeats.
        recording_column: column that names the recording a file was cut from; the file's path in ``root`` by default.
        start_column: column with the clip's start in the file, in seconds; the file's start by default.
        end_column: column with the clip's end in the file, in seconds; the file's end by default.
        patient_column: column that identifies the patient.
        device_column: column with the stethoscope or recorder.
        site_column: column with the place on the chest.
        split_column: column with the dataset's own split.
        quality_column: column that says "poor" or "poor quality" for recordings that the annotators called unusable.

    Returns:
        Counts of clips, recordings, patients and of clips by label, and the manifest's path.
    """
    named = {
        "clip_id": clip_id_column,
        "recording": recording_column,
        "start_s": start_column,
        "end_s": end_column,
        "patient": patient_column,
        "device": device_column,
        "site": site_column,
        "split": split_column,
        "quality": quality_column,
    }
    root = existing_folder(root, "the recordings")
    files = AudioFiles(root)
    if table is None and not tables_in(root):
        say(f"No CSV table is in {root}: every recording there becomes a clip without labels.")
        path, rows = root, pd.DataFrame({"path": [str(file) for file in files.paths]})
    else:
        path = named_table(table, root) if table else only_table(root)
        rows = read_table(path)
    columns = ColumnMap(
        path=_path_column(rows, path, path_column),
        mapped=map_columns(rows, path, named),
        flags=parse_flag_columns(labels, rows, path),
        names=None if label_column is None else find_column(rows, label_column, path, "--label_column"),
        classes=[find_column(rows, name, path, "--class_columns") for name in _split(class_columns)],
    )
    return make_manifest(clips(rows, path, files, columns), out)


def clips(rows: pd.DataFrame, source: Path, files: AudioFiles, columns: ColumnMap) -> Iterator[Clip]:
    """Yield a clip per row of a table, as the row is: faults are for the audit to judge.

    A row whose file is not there keeps the path where it should be. A row that is given twice gives two clips.

    Args:
        rows: table of text, see `read_table`.
        source: where the table was read, for error messages.
        files: the recordings.
        columns: what the table's columns mean.

    Raises:
        UserError: a label or a time in the table is not readable, or no row names a file that is there.
    """
    found = {name: files.find(name) for name in dict.fromkeys(rows[columns.path])}
    if not any(found.values()):
        raise UserError(
            f"No row of {source} names a file in {files.folder}: column {columns.path!r} has, for example, {next(iter(found), '')!r}; "
            "name another column or another folder."
        )
    taken: set[str] = set()
    for number, values, labels in zip(rows.index, rows.to_dict("records"), _labels(rows, source, columns), strict=True):
        path = found[values[columns.path]] or files.expected(values[columns.path])
        mapped = _mapped(values, columns.mapped)
        for name in NUMBER_COLUMNS:
            if name in mapped:
                mapped[name] = _seconds(mapped[name], columns.mapped[name], number, source)
        recording = mapped.pop("recording", None) or files.recording(path)
        clip_id = _untaken(mapped.pop("clip_id", None) or recording, taken)
        taken.add(clip_id)
        classes = {_free(name, labels): values[name] for name in columns.classes}
        metadata = {_free(str(name), labels): value for name, value in values.items() if name not in columns.used}
        yield Clip(clip_id=clip_id, path=str(path), recording=recording, labels=labels, classes=classes, metadata=metadata, **mapped)


def _mapped(values: Mapping[Any, str], columns: Mapping[str, str]) -> dict[str, Any]:
    """Manifest column -> a row's value, for the columns that say something; a patient that is "NA" or "?" is not named."""
    mapped: dict[str, Any] = {name: values[column] for name, column in columns.items() if values[column].casefold() not in MISSING}
    if mapped.get("quality", "").casefold() in POOR:
        mapped["quality"] = "poor"
    return mapped


def _labels(rows: pd.DataFrame, source: Path, columns: ColumnMap) -> list[dict[str, int | None]]:
    """Each row's labels, from its columns of 1 and 0 and from its column of names."""
    labels: list[dict[str, int | None]] = [{} for _ in rows.index]
    for label in dict.fromkeys(label for label, _ in columns.flags):
        sources = [column for name, column in columns.flags if name == label]
        for position, number in enumerate(rows.index):
            labels[position][label] = any_of(_flag(str(rows.at[number, column]), column, number, source) for column in sources)
    if columns.names is not None:
        named = [parse_labels(text) for text in rows[columns.names]]
        vocabulary = [*columns.vocabulary, *sorted(frozenset().union(*(names or () for names in named)) - set(columns.vocabulary))]
        for position, names in enumerate(named):
            labels[position].update({label: None if names is None else int(label in names) for label in vocabulary})
    return labels


def map_columns(rows: pd.DataFrame, source: Path, named: Mapping[str, str | None]) -> dict[str, str]:
    """The map for the manifest's own columns: those that the user names, else those that the table calls as the manifest does."""
    mapped = {}
    by_name = {column.casefold(): column for column in rows.columns}
    for name in MAPPED:
        if named.get(name) is not None:
            option = f"--{name.removesuffix('_s')}_column"
            mapped[name] = find_column(rows, str(named[name]), source, option)
        elif name in by_name:
            mapped[name] = by_name[name]
    return mapped


def parse_flag_columns(text: str, rows: pd.DataFrame, source: Path) -> list[tuple[str, str]]:
    """``wheeze=CAS,crackle`` as (label, column) pairs."""
    pairs = []
    for part in _split(text):
        label, _, column = part.partition("=")
        pairs.append((label.strip(), find_column(rows, column or label, source, "--labels")))
        if label.strip() in MANIFEST_COLUMNS:
            raise UserError(f"A label cannot be called {label.strip()!r}, which is a column of every manifest: write --labels NAME={part}.")
    return pairs


def _path_column(rows: pd.DataFrame, source: Path, named: str | None) -> str:
    if named is None and "path" not in map(str.casefold, rows.columns):
        raise UserError(f"{source} has no column 'path' (it has {', '.join(rows.columns)}): name the files' column by --path_column.")
    return find_column(rows, named or "path", source, "--path_column")


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _flag(text: str, column: str, number: int, source: Path) -> int | None:
    try:
        return parse_flag(text)
    except ValueError:
        raise UserError(f"{source}, row {number}, has {text!r} in column {column!r}: expected 1, 0 or nothing; correct it.") from None


def _seconds(text: str, column: str, number: int, source: Path) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = nan
    if not isfinite(seconds):
        raise UserError(f"{source}, row {number}, has {text!r} in column {column!r}: expected seconds or nothing; correct it.")
    return seconds


def _untaken(name: str, taken: set[str]) -> str:
    """``name``, or ``name#2``, ``name#3`` ... where it is taken: a row given twice is two clips until the audit says otherwise."""
    count, free = 1, name
    while free in taken:
        count += 1
        free = f"{name}#{count}"
    return free


def _free(name: str, labels: Mapping[str, Any]) -> str:
    """``name``, or another one where a column of the manifest or a label has it."""
    return f"table_{name}" if name in MANIFEST_COLUMNS or name in labels else name
