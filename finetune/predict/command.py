"""``python -m finetune predict``: an exported file answers for recordings; one row each, bad ones with their reason."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from common.errors import UserError
from common.files import write_csv
from common.progress import say, track

if TYPE_CHECKING:
    from finetune.predict.model_file import ModelFile


def predict(
    model: Path,
    input: list[Path],
    out: Path = Path("predictions.csv"),
    metadata: Path | None = None,
    metadata_key: str = "file",
    seconds: float | None = None,
    submission: Path | None = None,
) -> dict[str, Any]:
    """Predict labels of recordings with an exported model.

    Writes one row per file: file, status ("ok", "flagged" or "failed"), reason, duration_s, sample_rate (Hz), then per label
    prob_<label> (0 to 1), decided_<label> (1 or 0, by the file's thresholds and label rule) and undecided_<label> (1 where a person
    should decide, by the file's abstain bands or limit), and where exactly one label is true decided, its name, empty where undecided.
    A recording of any length and rate is taken; a long one is covered by overlapping windows. A file that does not
    open gets a row with its reason.

    Args:
        model: bundle or file that 'python -m finetune export' wrote.
        input: recordings (WAV, FLAC or OGG), or folders, which are searched for them at any depth.
        out: CSV file to write.
        metadata: CSV file with the metadata that the model takes beside the audio, a row for each recording; empty cells and
            recordings without a row count as missing.
        metadata_key: its column of the recordings' file names, with or without the ending.
        seconds: only the first so many seconds of each recording are heard, s, as where the model was trained on no more.
        submission: CSV file to write too, without a header: the file's name without its ending, and the decided class, as challenges
            want it. For a model of classes of which a recording has exactly one.

    Returns:
        Counts ``files``, ``ok``, ``flagged``, ``failed``, decided positives per label in ``positives``, and the path ``predictions``; with
        a submission its path ``submission``.

    Raises:
        UserError: the model does not open, an input is missing, there is no recording among the inputs, the metadata do not fit, or the
            model has no classes to submit.
    """
    if seconds is not None and not 0 < seconds < float("inf"):
        raise UserError(f"--seconds is {seconds:g}, expected more than 0.")
    files = [file for path in input for file in _recordings(path)]
    if not files:
        raise UserError(f"No recording among {', '.join(map(str, input))}: expected WAV, FLAC or OGG files, or folders that hold some.")
    # Late: torch takes seconds to import, which a wrong path should not cost.
    from finetune.predict.metadata_table import MetadataTable, read_metadata
    from finetune.predict.model_file import open_model

    opened = open_model(model)
    if submission is not None and not opened.task.one_of:
        raise UserError(f"{model} decides each label by itself, so a recording has no one class to submit: leave --submission out.")
    known = (
        read_metadata(metadata, metadata_key, model, opened.metadata.get("metadata"), files) if metadata is not None else MetadataTable({})
    )
    table = pd.DataFrame([_row(opened, file, known.of(file), seconds) for file in track(files, "Predicting")])
    whole = ["sample_rate", *(f"{kind}_{label}" for kind in ("decided", "undecided") for label in opened.labels)]
    # A failed file has none, which would turn whole numbers into floats.
    table[whole] = table[whole].astype("Int64")
    write_csv(out, table)
    counts = table["status"].value_counts()
    figures: dict[str, Any] = {"files": len(table), **{status: int(counts.get(status, 0)) for status in ("ok", "flagged", "failed")}}
    for row in table[table["status"] != "ok"].head(20).itertuples():
        say(f"{row.status}: {row.file}: {row.reason}")
    positives = {label: int(table[f"decided_{label}"].sum()) for label in opened.labels}
    figures |= {"positives": positives, "predictions": str(out)}
    return figures if submission is None else figures | {"submission": _submit(submission, table, opened.labels)}


def _submit(path: Path, table: pd.DataFrame, labels: list[str]) -> str:
    """Write name and class of each recording: a challenge wants a class where the file leaves it undecided too, and an empty one of what
    failed."""
    classes = pd.Series("", index=table.index)
    for label in labels:
        classes[(table[f"decided_{label}"] == 1).fillna(False)] = label
    write_csv(path, pd.DataFrame({"name": [Path(file).stem for file in table["file"]], "decided": classes}), header=False)
    failed = int((classes == "").sum())
    if failed:
        say(f"WARNING: {path} has no class for {failed} recordings, which failed: mend them, or enter a class by hand.")
    return str(path)


def _recordings(path: Path) -> Iterator[Path]:
    from common.audio.read import AUDIO_SUFFIXES

    if path.is_dir():
        yield from sorted(file for file in path.rglob("*") if file.suffix.lower() in AUDIO_SUFFIXES and file.is_file())
    elif path.is_file():
        yield path
    else:
        raise UserError(f"No file or folder at {path}: check the path.")


def _row(model: "ModelFile", file: Path, metadata: np.ndarray | None, seconds: float | None) -> dict[str, Any]:
    from common.audio.quality import flag_names
    from common.audio.read import read_audio, to_mono

    names = [f"{kind}_{label}" for kind in ("prob", "decided", "undecided") for label in model.labels]
    names += ["decided"] if model.task.one_of else []
    row: dict[str, Any] = {"file": str(file), "status": "ok", "reason": "", "duration_s": None, "sample_rate": None, **dict.fromkeys(names)}
    try:
        waveform, sample_rate = read_audio(file)
        if waveform.shape[1] == 0:
            raise UserError(f"{file} holds no samples: expected a recording.")
        heard = to_mono(waveform)[: None if seconds is None else max(1, round(seconds * sample_rate))]
        probabilities, flags = model.predict(heard, sample_rate, metadata)
    except (UserError, RuntimeError) as error:
        return {**row, "status": "failed", "reason": str(error).strip().splitlines()[-1]}
    row |= {"duration_s": waveform.shape[1] / sample_rate, "sample_rate": sample_rate}
    if flags:
        row |= {"status": "flagged", "reason": " ".join(flag_names(flags))}
    decisions, undecided = model.decide(probabilities), model.undecided(probabilities)
    for label, probability, decision, left in zip(model.labels, probabilities, decisions, undecided, strict=True):
        row |= {f"prob_{label}": float(probability), f"decided_{label}": int(decision), f"undecided_{label}": int(left)}
    if model.task.one_of and not undecided.any():
        row["decided"] = model.labels[int(decisions.argmax())]
    return row
