"""``python -m common audit``: judge every file and row of a manifest, and say why each refused one is refused."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table

from common.audit import rows
from common.audit.examine import ClipBorders, Observation, Recording
from common.audit.page import write_page
from common.audit.pool import examine_all
from common.audit.reasons import REASONS, Finding
from common.errors import UserError
from common.files import write_json
from common.manifest import read_manifest, write_manifest
from common.progress import console, say

FORMAT = "auscult.audit/1"
LABELS = ("normal", "wheeze", "crackle")
# Suffixes of its files: whoever gives one to --out would look for a table there.
WRITTEN = (".csv", ".json", ".html")


def audit(
    manifest: str,
    out: str,
    strict: bool = False,
    workers: int | None = None,
    labels: list[str] | None = None,
    sample_rate: int = 16000,
    pictures: int = 200,
) -> dict[str, Any]:
    """Judge every file and row of a manifest; write the clean manifest, every reason, and a page with pictures.

    Args:
        manifest: table of clips, from 'python -m common manifest'.
        out: folder for manifest.csv (the clips that are kept), audit.json (every finding) and audit.html (counts and pictures).
        strict: refuse, and write no clean manifest, when any clip would be removed.
        workers: processes that decode recordings; 0 works without any; by default one per core from 500 recordings on.
        labels: label columns to judge; by default those of normal, wheeze and crackle that the manifest has.
        sample_rate: rate to train at, in Hz: a recording that cannot be resampled to it is refused. 16000 by default, the
            hardest of the usual rates to reach.
        pictures: how many flagged clips the page shows at most; 200 make a page of about 10 MB.

    Returns:
        Figures: clips, kept, removed, flagged (kept with a warning), unlisted (files without a row), reasons (code -> findings),
        and the paths of the clean manifest and the page.

    Raises:
        UserError: the manifest is missing or wrong, ``out`` is named like a file, no clip would be left, or ``strict`` allows none to
            be removed.
    """
    if sample_rate <= 0 or pictures < 0 or (workers or 0) < 0:
        raise UserError(
            f"The audit was given sample_rate {sample_rate}, pictures {pictures} and workers {workers}: expected a positive rate in Hz "
            "and no negative number."
        )
    folder = Path(out)
    if folder.suffix in WRITTEN and not folder.is_dir():
        raise UserError(f"--out {out} is named like a file, and the audit writes a folder of files: name it {folder.with_suffix('')}.")
    clean = folder / "manifest.csv"
    if clean.resolve() == Path(manifest).resolve():
        raise UserError(f"The clean manifest would overwrite {manifest}: choose another --out.")
    table = read_manifest(manifest, refuse_borders=False)
    labels = [name for name in LABELS if name in table.columns] if labels is None else labels
    table = read_manifest(manifest, labels, refuse_borders=False)

    observations = list(examine_all(_recordings(table), sample_rate, workers))
    faults = _faults(table, labels, observations)
    unlisted = list(rows.unlisted_files(table))
    names = list(zip(table["clip_id"], table["path"], strict=True))
    findings = [Finding(*names[row], reason, detail) for row in sorted(faults) for reason, detail in faults[row]] + unlisted
    removed = {row for row in faults if _removes(faults[row])}
    totals = {
        "clips": len(table),
        "kept": len(table) - len(removed),
        "removed": len(removed),
        "kept with a warning": len(faults.keys() - removed),
        "files without a row": len(unlisted),
    }
    counts = Counter(finding.reason for finding in findings)
    reasons = {code: counts[code] for code in REASONS if counts[code]}
    entries = [finding.as_json() for finding in findings]
    write_json(
        folder / "audit.json",
        {"format": FORMAT, "manifest": str(manifest), "labels": labels, "totals": totals, "reasons": reasons, "findings": entries},
    )
    write_page(folder / "audit.html", table, labels, findings, totals, str(manifest), pictures)
    _print_counts(reasons, totals)
    if (strict and removed) or len(removed) == len(table):
        # A clean manifest of an earlier, milder run must not be taken for this one's.
        clean.unlink(missing_ok=True)
        why = "and --strict allows none" if strict else "so that none is left"
        raise UserError(
            f"{len(removed)} of the {len(table)} clips of {manifest} would be removed, {why}: "
            f"see {folder / 'audit.html'} and mend the data."
        )
    write_manifest(clean, _clean_table(table, labels, observations, removed))
    return {
        "clips": totals["clips"],
        "kept": totals["kept"],
        "removed": totals["removed"],
        "flagged": totals["kept with a warning"],
        "unlisted": totals["files without a row"],
        "reasons": reasons,
        "manifest": str(clean),
        "page": str(folder / "audit.html"),
    }


def _recordings(table: pd.DataFrame) -> list[Recording]:
    """The manifest's files in order of appearance, each with its clips."""
    clips: dict[str, list[ClipBorders]] = defaultdict(list)
    for row, path, start_s, end_s in zip(table.index, table["path"], table["start_s"], table["end_s"], strict=True):
        clips[path].append(ClipBorders(row, start_s, None if math.isnan(end_s) else end_s))
    return [Recording(path, tuple(borders)) for path, borders in clips.items()]


def _faults(table: pd.DataFrame, labels: Sequence[str], observations: Sequence[Observation]) -> dict[int, list[tuple[str, str]]]:
    """Reason codes and details by row, for rows that have any."""
    faults: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for seen in observations:
        if seen.faults:
            faults[seen.row] += seen.faults
    # Silent or broken clips resemble each other without being copies.
    digests = {seen.row: seen.digest for seen in observations if seen.digest is not None and not _removes(seen.faults)}
    for found in (rows.label_rule(table, labels), rows.repeated_rows(table)):
        for row, reason, detail in found:
            faults[row].append((reason, detail))
    removed = {row for row in faults if _removes(faults[row])}
    for row, reason, detail in rows.duplicates(table, labels, digests, removed):
        faults[row].append((reason, detail))
    return dict(faults)


def _removes(faults: Sequence[tuple[str, str]]) -> bool:
    return any(REASONS[reason].action == "removed" for reason, _ in faults)


def _clean_table(table: pd.DataFrame, labels: Sequence[str], observations: Sequence[Observation], removed: set[int]) -> pd.DataFrame:
    """The kept rows, with corrected ends and the rate and duration that decoding gave."""
    clean = table.copy()
    for seen in observations:
        if seen.end_s is not None:
            clean.at[seen.row, "end_s"] = seen.end_s
        if seen.sample_rate is not None:
            clean.at[seen.row, "sample_rate"] = seen.sample_rate
            clean.at[seen.row, "duration_s"] = seen.duration_s
    # Whole numbers with gaps: without this pandas would write 1.0, 0.0 and 4000.0.
    whole = [*labels, "sample_rate"]
    clean[whole] = clean[whole].astype("Int64")
    return clean.drop(index=sorted(removed))


def _print_counts(reasons: dict[str, int], totals: dict[str, int]) -> None:
    if reasons:
        grid = Table("reason", "severity", "done")
        grid.add_column("findings", justify="right")
        for code, count in reasons.items():
            grid.add_row(code, REASONS[code].severity, REASONS[code].action, str(count))
        console.print(grid)
    say(", ".join(f"{name} {count}" for name, count in totals.items()) + ".")
