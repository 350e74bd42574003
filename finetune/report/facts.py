"""The page's lists of facts: which data, and how the run was made."""

from typing import Any

from common.page.page import number
from finetune.evaluation.result import Evaluation
from finetune.run_folder import RunFolder

ENCODERS = {
    "none": "none: the encoder started from its own initial weights, no pretrained file was given",
    "per_fold": "one per fold, pretrained without that fold's held-out patients",
    "shared": "one for all folds",
}


def data_facts(folder: RunFolder, evaluation: Evaluation) -> dict[str, str]:
    """How many patients, recordings and clips there are, how many count and why the others do not."""
    counts = evaluation.predictions.counts()
    return {
        "Patients": "no patient column" if counts["patients"] is None else number(counts["patients"]),
        "Recordings": number(counts["recordings"]),
        "Clips": number(counts["clips"]),
        "Annotated clips": number(counts["annotated_clips"]),
        "Poor quality, left out": number(counts["poor_quality_clips"]),
        "Not annotated, left out": number(counts["unlabelled_clips"]),
        "Folds grouped by": str(folder.record.get("grouped_by", "not recorded")),
        "Manifest": str(folder.record.get("manifest", "not recorded")),
        "Data hash": str(folder.record.get("data_hash", "not recorded")),
    }


def provenance_facts(folder: RunFolder) -> dict[str, str]:
    """Encoder, task, settings, commit and versions, as run.json has them."""
    record = folder.record
    encoder = record.get("encoder") or {}
    source = str(encoder.get("source", "not recorded"))
    words = ENCODERS.get(source, source)
    if source == "shared":
        heard = "held-out patients, without their labels (transductive)" if encoder.get("transductive") else "none of the held-out patients"
        words = f"{words}, which heard {heard}"
    facts = {"Pretrained encoder": words}
    if encoder.get("file"):
        facts["Encoder file"] = str(encoder["file"])
    facts["Split guard"] = _guard(record.get("guard"))
    task = record["task"]
    facts["Task"] = _described(task)
    for part in ("features", "classifier", "resampling"):
        if record.get(part):
            facts[part.capitalize()] = _described(record[part])
    for key, title in (("sample_rate", "Sample rate, Hz"), ("clip_s", "Clip length, s"), ("seed", "Seed"), ("git_commit", "Commit")):
        facts[title] = str(record.get(key) if record.get(key) is not None else "not recorded")
    seconds = [of_fold["seconds"] for of_fold in folder.fold_records.values() if of_fold.get("seconds") is not None]
    if seconds:
        facts["Training time, minutes"] = f"{sum(seconds) / 60:.1f}"
    versions = record.get("versions") or {}
    facts["Versions"] = ", ".join(f"{name} {version}" for name, version in versions.items()) or "not recorded"
    return facts


def _guard(record: dict[str, Any] | None) -> str:
    """What the split guard looked at and let through."""
    if not record:
        return "not run"
    allowed = f"{record['allowed']} leaks, all allowed" if record["allowed"] else "no leak"
    return f"{allowed}, {record['warnings']} warnings; looked at {', '.join(record['checked'])}"


def _described(part: dict[str, Any]) -> str:
    """A class with its arguments, and theirs."""
    written = {
        name: _described(value) if isinstance(value, dict) and "class_path" in value else value
        for name, value in part.get("init_args", {}).items()
    }
    return f"{part['class_path'].rpartition('.')[2]}({', '.join(f'{name}={value}' for name, value in written.items())})"
