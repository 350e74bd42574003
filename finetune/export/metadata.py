"""What an exported file says of itself: ``model.json`` and ``MODEL_CARD.md`` among its extra files."""

from pathlib import PurePath
from typing import Any

from finetune.metadata import Metadata
from finetune.run_folder import RunFolder

FORMAT = "auscult.model/1"
METADATA_NAME = "model.json"
CARD_NAME = "MODEL_CARD.md"
THRESHOLD_RULES = {
    **{rule: f"chosen out of fold by {rule}" for rule in ("youden", "f1", "score", "normal", "sensitivity")},
    "equal": "the same for all, so that the most probable is decided",
}

SIGNATURE = (
    "model(waveform [B, T] float32, sample_rate: int, lengths [B] int64 or None{metadata}) -> (probabilities [B, L], flags [B] int64)"
)


def metadata(
    run: RunFolder,
    folds: list[int],
    thresholds: dict[str, Any],
    calibration: dict[str, Any],
    figures: dict[str, Any],
    geometry: dict[str, Any],
    parity: float,
    flags: dict[int, str],
    stream: Metadata | None,
    frames: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Content of ``model.json``.

    Args:
        run: the run that is exported.
        folds: folds whose networks are averaged in the file.
        thresholds: see `finetune.evaluation.thresholds.per_label.Thresholds.as_json`; chosen on all out-of-fold predictions.
        calibration: ``choice`` and, per fold, each label's map (see `finetune.evaluation.calibration.calibrators.Calibrator`), which is
            inside the file.
        figures: headline figures of the report; those of the single folds' models out of fold.
        geometry: how waveforms are windowed (sample_rate, clip_s, hop_s, short_clips, aggregate).
        parity: largest difference between file and eager model that was seen on export.
        flags: bit -> name of the quality flags.
        stream: the metadata that the file takes, with its vocabularies; None where it takes none.
        frames: see `finetune.export.frame_events.FrameEvents.as_json`; None where the file tells whole windows only.
    """
    record = run.record
    return {
        "format": FORMAT,
        "file_type": "torchscript",
        "signature": SIGNATURE.format(metadata="" if stream is None else ", metadata [B, M] float32 or None"),
        "labels": list(run.task.labels),
        "thresholds": thresholds["thresholds"],
        "threshold_rule": thresholds["rule"],
        "threshold_sensitivity": thresholds.get("sensitivity"),
        "calibration": calibration,
        "decoding": "largest_quotient" if run.task.one_of else "thresholds",
        "decision": run.task.decision,
        "task": run.task.describe(),
        **geometry,
        "flags": {str(bit): name for bit, name in flags.items()},
        "metadata": None
        if stream is None
        else {"columns": list(stream.columns), "numbers": list(stream.numbers), "vocabularies": stream.vocabularies},
        "frames": frames,
        "folds": folds,
        "out_of_fold": figures,
        "out_of_fold_note": "figures of the single folds' models on patients that they never saw, not of their average",
        "grouped_by": record.get("grouped_by"),
        "encoder": _without_folders(record.get("encoder")),
        "versions": record.get("versions"),
        "git_commit": record.get("git_commit"),
        "data_hash": record.get("data_hash"),
        "seed": record.get("seed"),
        "parity": parity,
    }


def _without_folders(encoder: dict[str, Any] | None) -> dict[str, Any] | None:
    """Where the weights began, without where on the training machine they lay: their hashes tell which they are."""
    return encoder and {**encoder, "file": encoder.get("file") and PurePath(encoder["file"]).name}


def model_card(description: dict[str, Any]) -> str:
    """A model card in Markdown (Mitchell et al. 2019) from `metadata`."""
    figures = description["out_of_fold"]
    interval = figures.get("macro_auroc_ci")
    between = f" (95 % interval over {description['grouped_by']}s {interval[0]:.3f} to {interval[1]:.3f})" if interval else ""
    auroc = figures.get("macro_auroc")
    lines = [
        "# Model card",
        "",
        f"Hears {_heard(description)} in recordings. Research software: **not a diagnosis**, and not a medical device.",
        "",
        f"- Call: `{description['signature']}`; any sample rate and length. Inside, {description['sample_rate']} Hz and windows of "
        f"{description['clip_s']:g} s.",
        f"- Metadata beside the audio: {_metadata(description['metadata'])}",
        *_frames(description["frames"]),
        f"- Networks averaged: {_networks(description)}.",
        f"- Macro AUROC out of fold: {'not evaluable' if auroc is None else f'{auroc:.3f}'}{between}; {description['out_of_fold_note']}.",
        f"- Trained and judged on {figures.get('clips')} clips of {figures.get('patients') or 'an unknown number of'} patients, "
        f"folds grouped by {description['grouped_by']}.",
        f"- Thresholds: {_pairs(description['labels'], description['thresholds'])}, {THRESHOLD_RULES[description['threshold_rule']]}"
        f"{'' if description['threshold_sensitivity'] is None else ' of at least ' + format(description['threshold_sensitivity'], '.0%')}.",
        f"- Calibration: {_calibrated(description)}",
        "- Limits: other devices, ages, sites and noise than those of the training data were not tested; a flagged recording "
        "(silent, clipped, too short, not finite, constant) has an answer that means little.",
        "",
    ]
    return "\n".join(lines)


def _heard(description: dict[str, Any]) -> str:
    words = ", ".join(description["labels"])
    return f"exactly one of {words}" if description["decoding"] == "largest_quotient" else words


def _metadata(description: dict[str, Any] | None) -> str:
    if description is None:
        return "none."
    return f"{', '.join(description['columns'])}; what is missing, all of them where none is given, was learnt as missing."


def _frames(frames: dict[str, Any] | None) -> list[str]:
    if frames is None:
        return []
    thresholds = _pairs(frames["labels"], frames["thresholds"])
    return [
        f"- Frame by frame, {frames['frame_s']:g} s each: `model.frames(waveform [B, T] float32, sample_rate: int)`, a window at most; "
        f"thresholds {thresholds}, the mean of what single folds' models chose by F1 on frames of patients that they never saw."
    ]


def _networks(description: dict[str, Any]) -> str:
    """How many, and of an ensemble what of."""
    folds = len(description["folds"])
    members = (description.get("ensemble") or {}).get("members")
    if not members:
        return str(folds)
    inside = "; ".join(f"{member['encoder']} at {member['sample_rate']} Hz, {member['clip_s']:g} s" for member in members)
    return f"{folds * len(members)}, of {len(members)} runs combined by {description['ensemble']['rule']} ({inside})"


def _calibrated(description: dict[str, Any]) -> str:
    choice = description["calibration"]["choice"]
    if choice == "none":
        return "none; probabilities are the networks' own and need not mean shares of recordings."
    averaged = (
        " The average of several calibrated networks tends to lie nearer to the prevalence than it should."
        if len(description["folds"]) > 1
        else ""
    )
    return f"{choice}, fitted on clips that the networks were not trained on; thresholds refer to calibrated probabilities.{averaged}"


def _pairs(labels: list[str], thresholds: list[float]) -> str:
    return ", ".join(f"{label} {threshold:.3f}" for label, threshold in zip(labels, thresholds, strict=True))
