"""The audit's page: counts by reason and a picture of each flagged clip, in one file that needs no network."""

import base64
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from common.audio.read import read_audio, to_mono
from common.audit.picture import picture, top_hz
from common.audit.reasons import REASONS, Finding
from common.errors import UserError
from common.files import write_text
from common.progress import track


@dataclass(frozen=True)
class Card:
    """What the page shows of one clip: its name, labels, faults, and its picture as PNG in base64 (empty where there is none)."""

    name: str
    path: str
    labels: str
    faults: list[tuple[str, str]]
    image: str
    duration_s: float
    top_hz: float


def write_page(
    path: Path, table: pd.DataFrame, labels: Sequence[str], findings: Sequence[Finding], totals: dict[str, int], source: str, most: int
) -> None:
    """Write the page.

    Args:
        path: HTML file to write.
        table: the manifest that was audited.
        labels: label columns.
        findings: all of them.
        totals: name -> count, shown in this order.
        source: the manifest's path, for the heading.
        most: how many clips to show at most.
    """
    import jinja2

    by_clip: dict[tuple[str, str], list[Finding]] = defaultdict(list)
    for finding in findings:
        by_clip[finding.clip_id, finding.path].append(finding)
    rows = table.set_index("clip_id")
    sections: dict[str, list[Card]] = defaultdict(list)
    chosen = _choose(list(by_clip.values()), most)
    for clip_findings in track(chosen, "Drawing flagged clips") if chosen else []:
        row = rows.loc[clip_findings[0].clip_id] if clip_findings[0].clip_id else None
        sections[clip_findings[0].reason].append(_card(clip_findings, row, labels))
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("common.audit", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    counts = Counter(finding.reason for finding in findings)
    html = environment.get_template("page.html").render(
        source=source,
        totals=totals,
        reasons={code: (reason, counts[code]) for code, reason in REASONS.items() if counts[code]},
        sections={code: sections[code] for code in REASONS if sections[code]},
        shown=sum(map(len, sections.values())),
        flagged=len(by_clip),
    )
    write_text(path, html)


def _choose(clips: list[list[Finding]], most: int) -> list[list[Finding]]:
    """The first ``most`` clips, taken in turn from each reason, so that a frequent one does not crowd out a rare one."""
    seen: Counter[str] = Counter()
    turns = []
    for order, findings in enumerate(clips):
        turns.append((seen[findings[0].reason], order))
        seen[findings[0].reason] += 1
    return [clips[order] for _, order in sorted(turns)[:most]]


def _card(findings: list[Finding], row: Any, labels: Sequence[str]) -> Card:
    path = findings[0].path
    whole = row is None or any(finding.reason == "wrong_borders" for finding in findings)
    start_s, end_s = (0.0, None) if whole else (row["start_s"], row["end_s"])
    image, duration_s, highest = "", 0.0, 0.0
    try:
        waveform, rate = read_audio(path)
        stop = None if end_s is None or pd.isna(end_s) else round(end_s * rate)
        clip = to_mono(waveform[:, round(start_s * rate) : stop])
        if len(clip):
            image = base64.b64encode(picture(clip, rate)).decode()
            duration_s, highest = len(clip) / rate, top_hz(rate)
    except UserError:
        # What does not open has no picture; the finding beside it says why.
        pass
    return Card(
        name=findings[0].clip_id or Path(path).name,
        path=path,
        labels="" if row is None else ", ".join(label for label in labels if row[label] == 1),
        faults=[(finding.reason, finding.detail) for finding in findings],
        image=image,
        duration_s=duration_s,
        top_hz=highest,
    )
