"""``python -m finetune events``: when in long recordings a label is there."""

from pathlib import Path
from typing import Any

from common.errors import UserError
from common.progress import say, track
from finetune.evaluation.thresholds.per_label import Rule
from finetune.events.judge import By
from finetune.events.write import RECORD, TABLE, TrackFiles, write_beside, write_events


def events(
    out: Path,
    model: Path | None = None,
    input: list[Path] | None = None,
    run: Path | None = None,
    manifest: str | None = None,
    thresholds: Rule | None = None,
    by: By | None = None,
    labels: list[str] | None = None,
    window_s: float | None = None,
    hop_s: float | None = None,
    high: float | dict[str, float] | None = None,
    low: float | dict[str, float] | None = None,
    min_length_s: float = 0.1,
    min_gap_s: float = 0.1,
    median_rows: int = 1,
    tracks: TrackFiles = "none",
    batch_size: int = 16,
) -> dict[str, Any]:
    """Find events in recordings of any length: overlapping windows, or their frames, give a probability track per label, two thresholds
    its events.

    Writes events.csv (recording, label, onset_s, offset_s, peak and mean probability), events.json (the same by recording, with what
    failed or was flagged, and how it was made) and per recording a label file for Audacity in audacity/. A file that does not open is
    named with its reason.

    Args:
        out: folder to write; new or empty.
        model: file that 'python -m finetune export' wrote. It hears --input.
        input: recordings (WAV, FLAC or OGG), or folders, which are searched for them at any depth.
        run: in place of --model and --input: folder that 'python -m finetune crossval', or 'baseline' over frames, wrote. Every whole
            recording of its manifest is judged by the network of the fold that held its patient out, with thresholds from the other folds.
        manifest: of the run, where it is no longer where run.json says.
        thresholds: of the run: what they maximise on the clips of the other folds, as in 'report'. "f1" finds fewer events that are none.
        by: "frames" (the track has a row per frame of a window) or "windows" (a row per window); by default frames of a model that
            annotated events taught, windows of others.
        labels: whose events are wanted; by default all of the model's but the one that says that there is none (normal), and of frames
            those that they were taught.
        window_s: length of a window, s; by default that of the model. Shorter ones are filled as short clips were in training.
        hop_s: from one window to the next, s; by default a tenth of the window, and half of it for frames.
        high: probability that an event reaches, for all labels or as {"wheeze": 0.6}; by default the model's thresholds, which frames
            have of their own.
        low: probability that it does not fall below, likewise; by default 0.8 times 'high'.
        min_length_s: shorter events are dropped, s.
        min_gap_s: shorter gaps between two events of a label are closed first, s.
        median_rows: running median over so many rows of the track, odd; 1 is none.
        tracks: write the probability tracks too, to tracks/: "csv", or "npz" (arrays start_s, end_s, probabilities, flags, labels).
        batch_size: windows answered together.

    Returns:
        Counts ``recordings``, ``failed``, ``hours`` heard, ``events`` by label, and the path ``table``.

    Raises:
        UserError: neither or both of a model and a run are given, there is nothing to hear, a setting is out of range, or ``out`` is in
            use.
    """
    if (model is None) == (run is None) or (model is None) != (input is None):
        raise UserError("Give either --model with --input, or --run alone.")
    if manifest is not None and run is None:
        raise UserError("--manifest is that of --run: leave it out with --model.")
    if thresholds is not None and run is None:
        raise UserError("--thresholds chooses those of --run; a model's file brings its own: leave it out, or give --high.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is in use: choose a folder that is new or empty, so that no events of another call lie among these.")
    # Late: torch takes seconds to import, which a wrong path should not cost.
    from finetune.events.judge import judge_of
    from finetune.events.out_of_fold import from_run
    from finetune.events.recording import find_events
    from finetune.events.rule import event_rule
    from finetune.events.sources import from_files
    from finetune.events.windows import windows_for
    from finetune.predict.model_file import open_model

    if run is not None:
        sources = from_run(run, manifest, thresholds)
    else:
        assert model is not None and input is not None
        sources = from_files(open_model(model), input)
    given = (labels, high, low, min_length_s, min_gap_s, median_rows)
    judges = {source.fold: judge_of(source.model, by) for source in sources}
    first = judges[sources[0].fold]
    if thresholds is not None and first.by == "frames":
        raise UserError("--thresholds chooses those of windows, and frames have their own: leave it out, or give --by windows.")
    rules = {fold: event_rule(judge, *given) for fold, judge in judges.items()}
    windows = windows_for(first, window_s, hop_s, batch_size)
    found = []
    for source in track(sources, "Listening"):
        heard = find_events(source.name, source.path, judges[source.fold], rules[source.fold], windows, source.fold, tracks != "none")
        if heard.reason:
            say(f"failed: {heard.path}: {heard.reason}")
        else:
            write_beside(out, heard, first.labels, tracks)
        found.append(heard.without_track())
    wanted = list(rules[sources[0].fold].high)
    about = {
        "model": None if model is None else str(model),
        "run": None if run is None else str(run),
        "by": first.by,
        "labels": wanted,
        "task": first.model.metadata["task"],
        "window_s": windows.window_s,
        "hop_s": windows.hop_s,
        "rules": [{"fold": fold, **rule.as_json()} for fold, rule in rules.items()],
    }
    write_events(out, found, about)
    by_label = {label: sum(event.label == label for heard in found for event in heard.events) for label in wanted}
    return {
        "recordings": len(found),
        "failed": sum(bool(heard.reason) for heard in found),
        "hours": sum(heard.duration_s or 0.0 for heard in found) / 3600,
        "events": by_label,
        "table": str(out / TABLE),
        "record": str(out / RECORD),
    }
