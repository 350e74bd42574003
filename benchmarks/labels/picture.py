"""The curve as a picture: macro AUROC against the share of labelled patients, one line per start."""

from pathlib import Path

import pandas as pd

from benchmarks.labels.starts import STARTS
from benchmarks.picture import save
from finetune.report.figures import STYLE

# Okabe & Ito's palette, which colour-blind readers can tell apart; no AudioSet is dashed, SimCLR filled.
COLOURS = {"scratch": "#7b8794", "simclr": "#0072b2", "audioset": "#e69f00", "audioset_simclr": "#d55e00"}
# Of neighbours at one share, so that their bars do not cover each other.
APART = 1.035


def draw(summary: pd.DataFrame, path: Path) -> None:
    """Write the picture of a table of `summarise` to ``path``, as its suffix says (.svg or .png)."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 4.2), layout="constrained")
        axes = figure.subplots()
        for number, start in enumerate(STARTS):
            rows = summary[summary["start"] == start.name]
            axes.errorbar(
                rows["share"] * APART ** (number - (len(STARTS) - 1) / 2),
                rows["macro_auroc"],
                yerr=rows["macro_auroc_sd"].fillna(0),
                label=start.title,
                color=COLOURS[start.name],
                marker="o",
                markerfacecolor=COLOURS[start.name] if start.simclr else "white",
                linestyle="-" if start.audioset else "--",
                capsize=3,
            )
        axes.axhline(0.5, color="#9aa5b1", linestyle=":", linewidth=1, label="chance")
        shares = sorted(set(summary["share"]))
        axes.set_xscale("log")
        axes.set_xticks(shares, [f"{share:g}" for share in shares])
        axes.minorticks_off()
        axes.set(xlabel="Labelled training patients, % (log scale)", ylabel="Macro AUROC (wheeze, crackle), held-out patients")
        axes.set_title(f"Mean and standard deviation over {_seeds(summary)}")
        axes.legend(loc="best")
        save(figure, path)


def _seeds(summary: pd.DataFrame) -> str:
    counts = sorted({str(count) for count in summary["n"]}, key=int)
    return f"{' or '.join(counts) or 'no'} seed{'' if counts == ['1'] else 's'}"
