"""The take-home layout: a folder ``train`` of short clips and a table ``train.csv`` whose columns are not known beforehand."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from common.datasets.audio_files import AudioFiles, existing_folder, folders_with_audio
from common.datasets.labels import KNOWN_WORDS, MISSING, normal_from, parse_codes, parse_labels
from common.datasets.table import ColumnMap, map_columns, parse_flag_columns
from common.datasets.table import clips as table_clips
from common.datasets.text_table import find_column, named_table, only_table, read_table
from common.datasets.writing import make_manifest
from common.errors import UserError
from common.manifest import Clip

LABELS = ("normal", "wheeze", "crackle")
PATIENT_COLUMNS = ("patient", "patientid", "patientno", "patientnumber", "subject", "subjectid", "participant", "participantid", "pid")
# Words of column names that speak of files, to decide between two columns that both could.
_FILE_WORDS = frozenset({"file", "filename", "fname", "path", "filepath", "wav", "audio", "sound", "recording", "clip", "id", "name"})
# Words around a label in the name of its column, as in "has_wheeze" or "label_wheeze".
_FLAG_WORDS = frozenset({"is", "has", "label", "target", "contains", "with", "present", "y"})


def manifest(
    root: Path,
    out: Path,
    table: Path | None = None,
    audio: Path | None = None,
    file_column: str | None = None,
    label_column: str | None = None,
    codes: str = "",
    labels: str = "",
    patient_column: str | None = None,
) -> dict[str, Any]:
    """Make a manifest of a folder of short clips and a table of labels normal, wheeze and crackle, whatever its columns.

    The table's columns are recognised by what they hold; the options decide where that is not clear. Every row stays, also
    one without a file or given twice: 'python -m common audit' judges them.

    Args:
        root: folder with the table and the folder of clips, as in ``train.csv`` and ``train/``.
        out: manifest to write, .csv or .parquet.
        table: the table, also by its name in ``root``. By default ``train.csv`` in ``root``, else the only CSV there.
        audio: folder of the clips. By default the one named as the table, else the only folder with audio.
        file_column: column with each row's file name, path or id. By default the one whose values are names of files.
        label_column: column with the names of a row's labels (``wheeze;crackle``, ``wheeze crackle``, ``both``). By default the one
            that holds only such names, where no columns are called by the labels.
        codes: what the numbers or letters of ``label_column`` stand for, as in ``0=normal,1=wheeze,2=crackle,3=both``.
        labels: columns with 1 or 0 for a label, where their names do not tell, as in ``normal=N,wheeze=W,crackle=C``.
        patient_column: column that identifies the patient. By default one called patient, patient_id, subject or the like.

    Returns:
        Counts of clips, recordings, patients and of clips by label, and the manifest's path.
    """
    return make_manifest(clips(root, table, audio, file_column, label_column, codes, labels, patient_column), out)


def clips(
    root: Path,
    table: Path | None = None,
    audio: Path | None = None,
    file_column: str | None = None,
    label_column: str | None = None,
    codes: str = "",
    labels: str = "",
    patient_column: str | None = None,
) -> Iterator[Clip]:
    """Yield a clip per row of the table, see `manifest`.

    Where the table answers wheeze and crackle but has no column for normal, a clip is normal when it has neither.

    Raises:
        UserError: what the table holds does not decide the file column or the labels; the message says what was seen and which
            option decides.
    """
    root = existing_folder(root, "a table and a folder of clips")
    if table is not None:
        table = named_table(table, root)
    elif (root / "train.csv").is_file():
        table = root / "train.csv"
    else:
        table = only_table(root)
    rows = read_table(table)
    files = AudioFiles(_audio_folder(root, table) if audio is None else existing_folder(audio, "the clips"))
    flags, names = _label_columns(rows, table, labels, label_column)
    if codes:
        if label_column is None:
            raise UserError(f"--codes {codes} says what the values of a column stand for: name that column by --label_column too.")
        rows[names] = _decode(rows[names], parse_codes(codes), table)
    spoken_for = {names, *(column for _, column in flags)}
    others = [column for column in rows.columns if column not in spoken_for]
    path = find_column(rows, file_column, table, "--file_column") if file_column else _guess_file_column(rows, others, files, table)
    if patient_column is None:
        patient_column = next((column for column in others if column != path and _plain(column) in PATIENT_COLUMNS), None)
    mapped = map_columns(rows, table, {"patient": patient_column})
    # A column "recording" or "clip_id" may well be the one with the files, and is then no name for something else.
    mapped = {name: column for name, column in mapped.items() if column != path and column not in spoken_for}
    columns = ColumnMap(path=path, mapped=mapped, flags=flags, names=names, vocabulary=LABELS if names else ())
    for clip in table_clips(rows, table, files, columns):
        if "normal" not in clip.labels and {"wheeze", "crackle"} <= clip.labels.keys():
            normal = normal_from([clip.labels["wheeze"], clip.labels["crackle"]])
            clip = replace(clip, labels={"normal": normal, **clip.labels})
        yield clip


def _audio_folder(root: Path, table: Path) -> Path:
    named = root / table.stem
    if named.is_dir():
        return named
    folders = list(folders_with_audio(root))
    if len(folders) == 1:
        return folders[0]
    seen = f"{', '.join(folder.name for folder in folders)} have some" if folders else "none is there"
    raise UserError(f"Expected one folder of WAV, FLAC or OGG files in {root}, but {seen}: name the folder by --audio.")


def _label_columns(rows: pd.DataFrame, table: Path, labels: str, label_column: str | None) -> tuple[Sequence[tuple[str, str]], str | None]:
    """The (label, column) pairs of 1/0 columns, or else the column of label names."""
    if labels:
        return parse_flag_columns(labels, rows, table), None
    if label_column is not None:
        return (), find_column(rows, label_column, table, "--label_column")
    flags = [(label, column) for column in rows.columns for label in sorted(_labels_in_name(column))]
    if {"wheeze", "crackle"} <= {label for label, _ in flags}:
        return flags, None
    candidates = [column for column in rows.columns if _holds_names(rows[column])]
    if len(candidates) == 1:
        return (), candidates[0]
    seen = f"columns {', '.join(candidates)} all hold such names" if candidates else f"it has {_glimpse(rows)}"
    raise UserError(
        f"Cannot tell the labels in {table}: expected columns normal, wheeze and crackle of 1 and 0, or one column of names like "
        f"'wheeze;crackle', but {seen}: name the column of names by --label_column, those of 1 and 0 by --labels "
        "wheeze=W,crackle=C, or one of codes by --label_column with --codes 0=normal,1=wheeze,2=crackle,3=both."
    )


def _decode(values: pd.Series, codes: dict[str, str], table: Path) -> pd.Series:
    """A column of codes as names of labels; an empty value stays empty."""
    # A whole number beside empty values is written 1.0 by much software.
    keys = values.str.strip().str.replace(r"^(\d+)\.0+$", r"\1", regex=True).str.casefold()
    unknown = sorted(set(keys) - codes.keys() - MISSING)
    if unknown:
        raise UserError(
            f"Column {values.name!r} of {table} holds {', '.join(map(repr, unknown[:5]))}, which --codes does not name "
            f"(it names {', '.join(codes)}): add what they stand for."
        )
    return keys.map(lambda key: codes.get(key, ""))


def _labels_in_name(column: str) -> frozenset[str]:
    """The labels that a column is about: "has_wheeze" -> wheeze, "both" -> wheeze and crackle, "age" -> none."""
    words = [word for word in re.findall(r"[a-z]+", column.casefold()) if word not in _FLAG_WORDS and word != "and"]
    if not words or not all(word in KNOWN_WORDS for word in words):
        return frozenset()
    return frozenset().union(*(KNOWN_WORDS[word] for word in words))


def _holds_names(values: pd.Series) -> bool:
    """Whether a column holds nothing but names of the labels, and not "normal" alone, which "none" in any column would be."""
    parsed = [parse_labels(value) or frozenset() for value in values.unique()]
    named = frozenset().union(*parsed)
    return named <= set(LABELS) and bool(named - {"normal"})


def _guess_file_column(rows: pd.DataFrame, candidates: Sequence[str], files: AudioFiles, table: Path) -> str:
    """The column whose values name the most different files; of equals, the one whose own name speaks of files."""
    found = {column: [files.matches(value) for value in rows[column]] for column in candidates}
    # Fewer than half would let a column of small numbers, an age for example, pass for the names of numbered files.
    likely = [column for column in candidates if 2 * sum(len(paths) == 1 for paths in found[column]) >= len(rows)]
    if not likely:
        raise UserError(
            f"Cannot tell which column of {table} names the files: it has {_glimpse(rows)}, and no column names a file for half of the "
            f"{len(rows)} rows in {files.folder}, which has {_count(files)}: name the column by --file_column or the folder by --audio."
        )
    different = {column: len({paths[0] for paths in found[column] if len(paths) == 1}) for column in likely}
    best = [column for column in likely if different[column] == max(different.values())]
    best = [column for column in best if _FILE_WORDS & set(re.findall(r"[a-z]+", column.casefold()))] or best
    if any(found[column] != found[best[0]] for column in best):
        raise UserError(f"Cannot tell which column of {table} names the files: {' and '.join(best)} both do: name it by --file_column.")
    return best[0]


def _plain(column: str) -> str:
    return re.sub(r"[\W_]+", "", column.casefold())


def _glimpse(rows: pd.DataFrame) -> str:
    """The columns of a table, each with its first value, for an error message."""
    shown = [f"{column} ({rows[column].iloc[0]!r})" for column in rows.columns[:12]]
    more = f" and {len(rows.columns) - 12} more" if len(rows.columns) > 12 else ""
    return f"the columns {', '.join(shown)}{more}"


def _count(files: AudioFiles) -> str:
    return f"{len(files.paths)} audio files such as {files.paths[0].name}" if files.paths else "no audio files"
