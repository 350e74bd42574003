"""``python -m pretrain report``: show what a run learned."""

from pathlib import Path
from typing import Any

from common.errors import UserError
from common.files import write_text


def report(
    run: str, out: str | None = None, manifest: str | None = None, store: str | None = None, most_clips: int = 1000, most_colours: int = 8
) -> dict[str, Any]:
    """Write a page on a pretraining run: its curves, what it was shown, whom it heard, and a map of its embeddings.

    The map shows clips that the run probed or else kept for validation, embedded whole by encoder.pt, coloured by label, device
    and patient. A run that has not ended has no map yet.

    Args:
        run: folder that 'python -m pretrain fit' or 'stream' wrote.
        out: page to write; report.html inside the run's folder by default.
        manifest: manifest of other clips for the map.
        store: folder of the waveform store for the map; the run's, or 'store' beside ``manifest``, by default.
        most_clips: clips on the map at most, whole patients.
        most_colours: devices, patients or labels that get a colour of their own, the most frequent; the others are grey.

    Returns:
        The page's path; epochs, loss and, of the clips on the map, their number and how far they give away device and patient.

    Raises:
        UserError: the folder holds no run, or what ``manifest`` names is not there.
    """
    if most_clips < 2 or most_colours < 1:
        raise UserError(f"most_clips is {most_clips} and most_colours {most_colours}: expected at least 2 and 1.")
    # Late: sklearn, matplotlib and torch take seconds to import, which --help should not.
    from pretrain.monitor.leakage import leakage
    from pretrain.report.clips import shown_clips
    from pretrain.report.page import render
    from pretrain.report.run import read_run

    folder = read_run(run)
    shown, notes = None, []
    if folder.encoder is None:
        notes.append("The run has not ended: its curves go to the last finished epoch, and there is no encoder for a map yet.")
    else:
        try:
            shown = shown_clips(folder, manifest, store, most_clips)
        except UserError as error:
            # A page of a run whose recordings are elsewhere is still worth reading; clips that were asked for must be there.
            if manifest is not None:
                raise
            notes.append(f"No map: {error}")
    leaks = {} if shown is None else leakage(shown.embeddings, shown.table)
    target = Path(out) if out is not None else folder.path / "report.html"
    write_text(target, render(folder, shown, leaks, notes, most_colours))
    return {
        "report": str(target),
        "epochs": folder.epochs,
        "loss": folder.last("train/loss"),
        "map_clips": 0 if shown is None else len(shown.table),
        "leak_device": leaks.get("leak_device"),
        "leak_patient": leaks.get("leak_patient"),
    }
