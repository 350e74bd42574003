"""What can be judged only by looking at the rows together: the label rule, repeated rows, duplicates, files without a row."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from common.audit.reasons import Finding
from common.datasets.audio_files import is_audio

NORMAL = "normal"


def label_rule(table: pd.DataFrame, labels: Sequence[str]) -> Iterator[tuple[int, str, str]]:
    """Rows that are normal and abnormal at once: yields row, reason code and detail."""
    others = [label for label in labels if label != NORMAL]
    if NORMAL not in labels or not others:
        return
    broken = (table[NORMAL] == 1) & (table[others] == 1).any(axis=1)
    for row in table.index[broken]:
        present = [label for label in others if table.at[row, label] == 1]
        yield row, "label_rule", f"normal together with {' and '.join(present)}"


def repeated_rows(table: pd.DataFrame) -> Iterator[tuple[int, str, str]]:
    """Rows that name the same stretch of the same file as an earlier row: yields row, reason code and detail."""
    key = pd.DataFrame({"path": table["path"], "start_s": table["start_s"], "end_s": table["end_s"]})
    first = table.groupby([key["path"], key["start_s"], key["end_s"]], dropna=False)["clip_id"].transform("first")
    for row in table.index[key.duplicated()]:
        yield row, "repeated_row", f"the same stretch of the same file as {first[row]}"


def duplicates(table: pd.DataFrame, labels: Sequence[str], digests: dict[int, str], removed: set[int]) -> Iterator[tuple[int, str, str]]:
    """Clips with the same samples: yields row, reason code and detail.

    Of clips that agree, the one with most annotated labels is kept, the first among equals. A label that one clip does not
    have annotated is no disagreement.

    Args:
        table: manifest.
        labels: label columns.
        digests: row -> hash of its samples, for rows whose audio is sound.
        removed: rows that are removed already; one of these is never the one that is kept, where there is another.
    """
    same: dict[str, list[int]] = defaultdict(list)
    for row in table.index:
        if row in digests:
            same[digests[row]].append(row)
    for rows in same.values():
        if len(rows) > 1:
            yield from _judge_same(table, labels, rows, removed)


def _judge_same(table: pd.DataFrame, labels: Sequence[str], rows: list[int], removed: set[int]) -> Iterator[tuple[int, str, str]]:
    known = table.loc[rows, list(labels)]
    disputed = [label for label in labels if known[label].nunique() > 1]
    names = dict(zip(rows, table.loc[rows, "clip_id"], strict=True))
    patients = sorted(set(table.loc[rows, "patient"]) - {""})
    annotated = dict(zip(rows, known.notna().sum(axis=1), strict=True))
    keep = min(rows, key=lambda row: (row in removed, -annotated[row], row))
    for row in rows:
        others = _some([names[other] for other in rows if other != row])
        if disputed:
            yield row, "duplicate_conflict", f"the same samples as {others}, with another {' and '.join(disputed)}"
        elif row != keep and row not in removed:
            yield row, "duplicate", f"the same samples as {names[keep]}, which is kept"
        if len(patients) > 1:
            yield row, "duplicate_across_patients", f"the same samples as {others}, under patients {_some(patients)}"


def unlisted_files(table: pd.DataFrame) -> Iterator[Finding]:
    """Audio files in the folders of the listed ones that no row names."""
    listed: dict[Path, set[str]] = defaultdict(set)
    for path in map(Path, table["path"].unique()):
        # Resolved, since two spellings of one folder would each miss the other's files.
        listed[path.parent.resolve()].add(path.name)
    for folder in sorted(listed):
        if folder.is_dir():
            for path in sorted(folder.iterdir()):
                if is_audio(path) and path.name not in listed[folder]:
                    yield Finding("", str(path), "unlisted_file", "no row names it")


def _some(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
