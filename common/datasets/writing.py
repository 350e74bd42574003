"""What every dataset adapter's command does with its clips: read the headers, write the manifest, count."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from common.audio.read import AudioHeader, read_header
from common.errors import UserError
from common.manifest import Clip, check_manifest_name, to_table, write_manifest
from common.progress import say, track


def make_manifest(clips: Iterable[Clip], out: Path) -> dict[str, Any]:
    """Write ``clips`` as a manifest, with the sample rate and duration that each recording's header gives.

    Args:
        clips: what an adapter yields; their ``sample_rate`` and ``duration_s`` are filled in here, one header per recording.
        out: manifest to write, .csv or .parquet.

    Returns:
        The figures of the command: ``clips``, ``recordings`` and ``patients`` (counts of different ones; 0 patients where none is
        named), ``labels`` (label -> clips that have it), ``poor_quality`` (clips), ``unreadable`` (recordings that are missing or
        whose header does not open: the audit says why) and ``manifest`` (the path written).

    Raises:
        UserError: there is no clip at all, or ``out`` is neither .csv nor .parquet.
    """
    # Now, since reading the headers takes minutes on a large set.
    check_manifest_name(out)
    rows = list(clips)
    if not rows:
        raise UserError("No clips were found, so there is no manifest to write: check the folder and the options.")
    headers = read_headers(clip.path for clip in rows)
    rows = [_with_header(clip, headers[clip.path]) for clip in rows]
    labels = list(dict.fromkeys(label for clip in rows for label in clip.labels))
    table = to_table(rows)
    # Whole numbers with gaps: without this pandas would write 1.0, 0.0 and 4000.0.
    whole = [*labels, "sample_rate"]
    table[whole] = table[whole].astype("Int64")
    write_manifest(out, table)
    unreadable = sum(header is None for header in headers.values())
    if unreadable:
        say(f"{unreadable} of {len(headers)} recordings are missing or do not open; 'python -m common audit' says why.")
    return {
        "clips": len(rows),
        "recordings": len({clip.recording for clip in rows}),
        "patients": len({clip.patient for clip in rows} - {""}),
        "labels": {label: sum(clip.labels.get(label) == 1 for clip in rows) for label in labels},
        "poor_quality": sum(clip.quality == "poor" for clip in rows),
        "unreadable": unreadable,
        "manifest": str(out),
    }


def read_headers(paths: Iterable[str]) -> dict[str, AudioHeader | None]:
    """Header of each different path, with a progress bar; None where the file is missing or does not open."""
    headers: dict[str, AudioHeader | None] = {}
    for path in track(list(dict.fromkeys(paths)), "Reading headers"):
        try:
            headers[path] = read_header(path)
        except UserError:
            headers[path] = None
    return headers


def _with_header(clip: Clip, header: AudioHeader | None) -> Clip:
    if header is None:
        return clip
    return replace(clip, sample_rate=header.sample_rate, duration_s=header.duration_s)
