"""SPRSound, the SJTU paediatric respiratory sound database: records and events with two levels of labels.

Zhang et al., "SPRSound: Open-Source SJTU Paediatric Respiratory Sound Database", IEEE Transactions on Biomedical Circuits and
Systems 16 (2022) 867-881.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from common.datasets.audio_files import audio_by_name, existing_folder, is_audio
from common.datasets.writing import make_manifest
from common.errors import UserError
from common.manifest import Clip
from common.progress import say

AUDIO_FOLDERS = ("train2022_wav", "train_wav", "train_audio", "wav")
ANNOTATION_FOLDERS = ("train2022_json", "train_json", "json")
# Continuous adventitious sounds (CAS) are wheezes in the wide sense, discontinuous ones (DAS) are crackles.
RECORD_CLASSES: dict[str, frozenset[str]] = {
    "Normal": frozenset({"normal"}),
    "CAS": frozenset({"wheeze"}),
    "DAS": frozenset({"crackle"}),
    "CAS & DAS": frozenset({"wheeze", "crackle"}),
    "Poor Quality": frozenset(),
}
EVENT_TYPES: dict[str, frozenset[str]] = {
    "Normal": frozenset({"normal"}),
    "Wheeze": frozenset({"wheeze"}),
    "Rhonchi": frozenset({"wheeze"}),
    "Stridor": frozenset({"wheeze"}),
    "Fine Crackle": frozenset({"crackle"}),
    "Coarse Crackle": frozenset({"crackle"}),
    "Wheeze+Crackle": frozenset({"wheeze", "crackle"}),
}
# The fine types stand beside the labels, in columns of their own: type_wheeze is the type, wheeze is any CAS.
TYPE_COLUMNS = {name: "type_" + name.lower().replace(" ", "_").replace("+", "_") for name in EVENT_TYPES if name != "Normal"}
LABELS = ("normal", "wheeze", "crackle")


def manifest(
    root: Path,
    out: Path,
    unit: Literal["records", "events"] = "records",
    annotations: Path | None = None,
) -> dict[str, Any]:
    """Make a manifest of SPRSound: records or events, with labels normal, wheeze (CAS), crackle (DAS) and a column per fine type.

    Args:
        root: folder that holds the recordings, or one of train2022_wav, train_wav, train_audio and wav with them (also one level
            deeper), and the JSON files likewise, in train2022_json, train_json or json. Test folders are not searched: point
            ``root`` at one, and ``annotations`` at its JSON files, to use it.
        out: manifest to write, .csv or .parquet.
        unit: what a clip is: a record (9 to 15 s, one annotation) or an event in it (a breath, about 1 s).
        annotations: folder of the JSON files, where they are elsewhere.

    Returns:
        Counts of clips, recordings, patients and of clips by label, and the manifest's path.
    """
    return make_manifest(clips(root, unit, annotations), out)


def clips(root: Path, unit: Literal["records", "events"] = "records", annotations: Path | None = None) -> Iterator[Clip]:
    """Yield the clips of the database in ``root``, see `manifest`.

    A record of poor quality has ``quality`` "poor" and empty labels. A record's type columns are 1 where one of its events is of
    that type. A recording without annotation is a record with empty labels; an annotation whose recording is missing is
    yielded, for the audit to report. With events, recordings without any give no clip, and their number is said.

    Raises:
        UserError: no recording or annotation is found, or in several folders, or a name or an annotation is not as published.
    """
    root = existing_folder(root, "the SPRSound database")
    folder = _only_folder(root, AUDIO_FOLDERS, "recordings (PATIENT_AGE_SEX_LOCATION_RECORDING, .wav or .flac)", is_audio)
    if annotations is None:
        annotations = _annotations_of(root, folder)
    annotated = {path.stem: path for path in sorted(existing_folder(annotations, "SPRSound's JSON files").glob("*.json"))}
    audio = audio_by_name(folder)
    bare = audio.keys() - annotated.keys()
    if bare:
        say(f"{len(bare)} recordings have no annotation, for example {min(bare)}: their labels are empty.")
    without_events = 0
    for name in sorted({*audio, *annotated}):
        clip = _recording(name, audio.get(name, folder / f"{name}.wav"))
        clip = replace(clip, split=next((split for split in ("train", "test") if split in folder.name), ""))
        record_class, events = _read_annotation(annotated[name]) if name in annotated else ("", [])
        poor = record_class == "Poor Quality"
        clip = replace(clip, quality="poor" if poor else "", classes={"record_class": record_class})
        unknown = poor or not record_class
        if unit == "records":
            types = {event_type for _, _, event_type in events}
            yield replace(clip, labels=_labels(None if unknown else RECORD_CLASSES[record_class], types))
            continue
        without_events += not events
        for index, (start_s, end_s, event_type) in enumerate(events):
            yield replace(
                clip,
                clip_id=f"{name}-{index:02d}",
                start_s=start_s,
                end_s=end_s,
                labels=_labels(None if unknown else EVENT_TYPES[event_type], {event_type}),
                classes={**clip.classes, "event_type": event_type},
            )
    if without_events:
        say(f"{without_events} recordings have no events (poor quality, mostly) and give no clip.")


def _labels(present: frozenset[str] | None, types: set[str]) -> dict[str, int | None]:
    if present is None:
        return dict.fromkeys((*LABELS, *TYPE_COLUMNS.values()))
    return {
        **{label: int(label in present) for label in LABELS},
        **{column: int(name in types) for name, column in TYPE_COLUMNS.items()},
    }


def _annotations_of(root: Path, folder: Path) -> Path:
    if any(folder.glob("*.json")):
        return folder
    return _only_folder(root, ANNOTATION_FOLDERS, "annotations (.json)", lambda path: path.suffix == ".json", "--annotations")


def _only_folder(root: Path, names: tuple[str, ...], what: str, fits: Any, option: str = "--root") -> Path:
    """The one folder with files that fit: ``root`` itself, else one of ``names`` in it, else one of them a level deeper."""
    levels = ([root], [root / name for name in names], [path for name in names for path in sorted(root.glob(f"*/{name}"))])
    for level in levels:
        found = [path for path in level if path.is_dir() and any(fits(file) for file in path.iterdir())]
        if len(found) > 1:
            raise UserError(f"{root} has {what} in several folders ({found[0]}, {found[1]}): point {option} at one of them.")
        if found:
            return found[0]
    raise UserError(f"No SPRSound {what} in {root}: expected them there or in a folder {' or '.join(names)}; check {option}.")


def _recording(name: str, path: Path) -> Clip:
    fields = name.split("_")
    try:
        patient, age, sex, site, number = fields
        metadata = {"age_years": float(age), "sex": {"0": "M", "1": "F"}[sex], "recording_index": number}
    except (ValueError, KeyError) as error:
        raise UserError(
            f"{path} is not named as SPRSound's recordings are: expected PATIENT_AGE_SEX_LOCATION_RECORDING with SEX 0 or 1, "
            "for example 41283662_3.4_0_p4_2357; move other files elsewhere."
        ) from error
    return Clip(clip_id=name, path=str(path), recording=name, patient=patient, site=site, metadata=metadata)


def _read_annotation(path: Path) -> tuple[str, list[tuple[float, float, str]]]:
    """Record class and events (start s, end s, type) of one JSON file, in the words of `RECORD_CLASSES` and `EVENT_TYPES`."""
    try:
        annotation = json.loads(path.read_text(encoding="utf-8-sig"))
        # The publisher's editions spell the key in these two ways, and write the borders (milliseconds) as numbers or strings.
        record = annotation["record_annotation"] if "record_annotation" in annotation else annotation["recording_annotation"]
        events = [(float(event["start"]) / 1000, float(event["end"]) / 1000, event["type"]) for event in annotation["event_annotation"]]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is not an SPRSound annotation ({type(error).__name__}: {error}): expected record_annotation and event_annotation, "
            "a list of start and end in milliseconds and type."
        ) from error
    return _word(record, RECORD_CLASSES, path), [(start, end, _word(name, EVENT_TYPES, path)) for start, end, name in events]


def _word(found: object, expected: dict[str, frozenset[str]], path: Path) -> str:
    for name in expected:
        if "".join(str(found).split()).casefold() == "".join(name.split()).casefold():
            return name
    raise UserError(f"{path} has the annotation {found!r}: expected one of {', '.join(expected)}.")
