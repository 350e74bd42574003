"""From points (one fine-tuned network each) to means and standard deviations over seeds, and to Markdown."""

from collections.abc import Mapping

import pandas as pd

from benchmarks.labels.starts import STARTS
from benchmarks.labels.subsets import SCORED

MEASURES = ("macro_auroc", *(f"auroc_{label}" for label in SCORED))
# What each pretraining adds, over the same patients: (with, without).
PAIRS = (("audioset_simclr", "audioset"), ("simclr", "scratch"))
TITLES = {start.name: start.title for start in STARTS}


def summarise(points: pd.DataFrame) -> pd.DataFrame:
    """One row per start and share: ``n`` seeds, mean and ``_sd`` (n - 1 in the denominator, empty for one seed) of each measure.

    Args:
        points: columns start, share, seed, patients, training_patients, clips, remark and `MEASURES`. Points that could not be
            evaluated have none, and do not count.
    """
    rows = []
    for start in TITLES:
        for share, group in points[(points["start"] == start) & points["macro_auroc"].notna()].groupby("share"):
            row = {"start": start, "share": share, "n": len(group)}
            for name in MEASURES:
                row |= {name: group[name].mean(), f"{name}_sd": group[name].std()}
            rows.append(row | {"patients": group["patients"].mean(), "clips": group["clips"].mean()})
    return pd.DataFrame(
        rows, columns=["start", "share", "n", *(f"{name}{end}" for name in MEASURES for end in ("", "_sd")), "patients", "clips"]
    )


def differences(points: pd.DataFrame) -> pd.DataFrame:
    """What pretraining adds to the macro AUROC, seed by seed: ``n`` seeds that have both points, mean, sd, and how many ``gained``."""
    rows = []
    values = points.pivot_table(index=["share", "seed"], columns="start", values="macro_auroc").reindex(columns=list(TITLES))
    for with_it, without in PAIRS:
        gains = (values[with_it] - values[without]).dropna()
        for share, group in gains.groupby("share"):
            figures = {"n": len(group), "mean": group.mean(), "sd": group.std(), "gained": int((group > 0).sum())}
            rows.append({"with": with_it, "without": without, "share": share, **figures})
    return pd.DataFrame(rows, columns=["with", "without", "share", "n", "mean", "sd", "gained"])


def markdown(points: pd.DataFrame, remarks: Mapping[str, str]) -> str:
    """The page: one table per measure, the paired differences, who is labelled, and ``remarks`` (name -> text) on how it was made."""
    summary, gains = summarise(points), differences(points)
    parts = ["# Label efficiency", "AUROC on held-out patients, mean ± standard deviation over seeds (number of seeds)."]
    for name in MEASURES:
        cells = {(row["start"], row["share"]): _mean(row[name], row[f"{name}_sd"], row["n"]) for _, row in summary.iterrows()}
        parts += [f"## {_title(name)}", _grid(summary, cells)]
    parts += ["## What SimCLR adds to the macro AUROC", "Difference on the same patients, seed by seed; in brackets the seeds that gained."]
    lines = ["| labelled patients, % | " + " | ".join(f"{TITLES[one]} - {TITLES[other]}" for one, other in PAIRS) + " |", "|---|---|---|"]
    for share in sorted(set(gains["share"])):
        here = [gains[(gains["share"] == share) & (gains["with"] == one)] for one, _ in PAIRS]
        lines.append(f"| {share:g} | " + " | ".join(_gain(rows) for rows in here) + " |")
    parts += ["\n".join(lines), "## Who is labelled", _who(points), "## How it was made"]
    parts.append("\n".join(f"- {name}: {text}" for name, text in remarks.items()))
    return "\n\n".join(parts) + "\n"


def _title(measure: str) -> str:
    return "Macro AUROC of wheeze and crackle" if measure == "macro_auroc" else f"AUROC of {measure.removeprefix('auroc_')}"


def _grid(summary: pd.DataFrame, cells: Mapping[tuple[str, float], str]) -> str:
    lines = ["| labelled patients, % | " + " | ".join(TITLES.values()) + " |", "|---" * (len(TITLES) + 1) + "|"]
    for share in sorted(set(summary["share"])):
        lines.append(f"| {share:g} | " + " | ".join(cells.get((start, share), "-") for start in TITLES) + " |")
    return "\n".join(lines)


def _who(points: pd.DataFrame) -> str:
    lines = ["| labelled patients, % | training patients, by seed | clips, by seed | remarks |", "|---|---|---|---|"]
    for share, group in points.groupby("share"):
        by_seed = group.sort_values("seed").drop_duplicates("seed")
        patients = ", ".join(f"{row.patients} of {row.training_patients}" for row in by_seed.itertuples())
        clips, remarks = ", ".join(map(str, by_seed["clips"])), "; ".join(sorted(set(group["remark"]) - {""}))
        lines.append(f"| {share:g} | {patients} | {clips} | {remarks} |")
    return "\n".join(lines)


def _mean(mean: float, sd: float, n: int) -> str:
    return f"{mean:.3f} ({n:.0f})" if pd.isna(sd) else f"{mean:.3f} ± {sd:.3f} ({n:.0f})"


def _gain(rows: pd.DataFrame) -> str:
    if rows.empty:
        return "-"
    row = rows.iloc[0]
    spread = "" if pd.isna(row["sd"]) else f" ± {row['sd']:.3f}"
    return f"{row['mean']:+.3f}{spread} ({row['gained']:.0f} of {row['n']:.0f})"
