"""The shuffled-label control: the same recordings and patients with labels that mean nothing.

A pipeline that is sound is at chance on it. One that is not has a leak: a patient on two sides of a fold, a choice made on the
held-out clips, a figure computed on training data.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from common.errors import UserError
from common.manifest import TEXT_COLUMNS, groups, read_manifest, write_manifest


def shuffle(
    manifest: Path,
    out: Path,
    labels: str | None = None,
    seed: int = 0,
    class_column: str | None = None,
    events: Path | None = None,
    events_out: Path | None = None,
) -> dict[str, Any]:
    """Shuffle the labels of a manifest between patients, as a control that must come out at chance.

    Args:
        manifest: CSV or Parquet file from 'common manifest' or 'common audit'.
        out: manifest to write, .csv or .parquet; everything but the labels and the quality is as it was.
        labels: label columns, joined by commas; a clip's labels stay together. "normal,wheeze,crackle" by default, none with a class
            column.
        seed: of the shuffle.
        class_column: class columns (record_class, event_type, diagnosis), joined by commas, which move with the labels.
        events: manifest of the recordings' annotated events, which move with their recording's labels.
        events_out: manifest of the moved events to write.

    Returns:
        Figures ``clips``, ``moved`` (share of the clips that now carry another patient's labels) and ``manifest``; with events ``events``
        (how many found a place) and ``events_manifest``.

    Raises:
        UserError: the manifest is missing, has no such label or one patient only, or would be overwritten; or there are events, and it has
            several clips of a recording.
    """
    if (events is None) != (events_out is None):
        raise UserError("--events and --events_out belong together: name the manifest of events, and the one to write.")
    classes = [name.strip() for name in (class_column or "").split(",") if name.strip()]
    if labels is None:
        labels = "" if classes else "normal,wheeze,crackle"
    columns = [name.strip() for name in labels.split(",") if name.strip()]
    if not columns and not classes:
        raise UserError("--labels names no label: give one or more label columns of the manifest, joined by commas.")
    for source, target, option in ((manifest, out, "--out"), (events, events_out, "--events_out")):
        if source is not None and target is not None and source.resolve() == target.resolve():
            raise UserError(f"The shuffled labels would overwrite {source}: choose another {option}.")
    table = read_manifest(manifest, columns, classes=classes)
    group = groups(table).to_numpy()
    if len(set(group)) < 2:
        raise UserError(f"{manifest} has clips of {group[0].replace(':', ' ')!r} only: there is nobody to exchange labels with.")
    shuffled, origin = shuffle_labels(table, [*columns, *classes], seed)
    figures = {"clips": len(table), "moved": round(float((group != group[origin]).mean()), 4), "manifest": str(out)}
    if events is not None and events_out is not None:
        moved = move_events(table, origin, read_manifest(events))
        write_manifest(events_out, moved)
        figures |= {"events": len(moved), "events_manifest": str(events_out)}
    write_manifest(out, shuffled)
    return figures


def shuffle_labels(table: pd.DataFrame, labels: list[str], seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Lay the patients end to end in random order, and give each clip the labels of the one a fixed number of clips further on.

    That number is drawn between the clips of the patient with most and the rest, so that nobody keeps own labels; where one
    patient has more than half of the clips, as few do as can be. Labels of one patient so stay together, as they are in the real
    table, but belong to somebody else's sound. Quality moves with the labels, since a clip of poor quality has none.

    Args:
        table: manifest.
        labels: label and class columns.
        seed: of the order and the number.

    Returns:
        The table with shuffled labels, and for each clip the row that its labels come from, int64 [n].
    """
    generator = np.random.default_rng(seed)
    group, clips = groups(table), len(table)
    names = group.unique()
    place = dict(zip(names, generator.permutation(len(names)), strict=True))
    order = group.map(place).to_numpy().argsort(kind="stable")
    most = int(group.value_counts().max())
    step = int(generator.integers(most, clips - most, endpoint=True)) if 2 * most <= clips else clips // 2
    origin = np.empty(clips, dtype=np.int64)
    origin[order] = np.roll(order, -step)
    shuffled = table.copy()
    for name in (*labels, "quality"):
        shuffled[name] = table[name].to_numpy()[origin]
    return shuffled, origin


def move_events(table: pd.DataFrame, origin: np.ndarray, events: pd.DataFrame) -> pd.DataFrame:
    """Give each recording the events of the one that its labels come from.

    So whoever learns from events and from labels learns the same nonsense from both, and one that learnt from events of held-out patients
    would be found out: it would know their labels.

    Args:
        table: manifest, one clip per recording.
        origin: see `shuffle_labels`.
        events: manifest of events; those of other recordings are left out.

    Returns:
        The events with path, recording and patient of their new recording, cut at its end; those that begin behind it are left out.

    Raises:
        UserError: a recording has several clips.
    """
    if table["recording"].duplicated().any():
        name = table["recording"][table["recording"].duplicated()].iloc[0]
        raise UserError(f"The recording {name!r} has several clips, whose labels go different ways: --events needs one clip per recording.")
    own = [name for name in (*TEXT_COLUMNS, "sample_rate", "duration_s") if name not in ("clip_id", "quality")]
    receivers = table[own].assign(source=table["recording"].to_numpy()[origin])
    moved = receivers.merge(events.drop(columns=own).assign(source=events["recording"]), on="source")
    moved = moved[~(moved["start_s"] >= moved["duration_s"])]
    number = moved.groupby("recording").cumcount().astype(str).str.zfill(2)
    moved = moved.assign(clip_id=moved["recording"] + "-" + number, end_s=moved[["end_s", "duration_s"]].min(axis=1))
    return moved[list(events.columns)].reset_index(drop=True)
