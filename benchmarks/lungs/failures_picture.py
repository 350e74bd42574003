"""AUROC by group as a picture: one panel per label, a point with its interval per group, and a line where all records are."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.lungs.failing_groups import ALL
from benchmarks.picture import save
from common.page.drawing import BLUE, QUIET, STYLE, VERMILION

ROW_INCHES, MARGIN_INCHES = 0.21, 0.9


def draw(groups: Sequence[dict[str, Any]], path: Path) -> None:
    """Write the picture of rows of `failing_groups` to ``path``, as its suffix says (.svg or .png).

    A group whose interval lies below the figure of all records is red; one without a figure is left out.
    """
    import matplotlib
    from matplotlib.figure import Figure

    labels = list(dict.fromkeys(row["label"] for row in groups))
    shown = {label: [row for row in groups if row["label"] == label and row["auroc"] is not None] for label in labels}
    height = MARGIN_INCHES + ROW_INCHES * max(map(len, shown.values()))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.4, height), layout="constrained")
        for axes, (label, rows) in zip(figure.subplots(1, len(labels), squeeze=False)[0], shown.items(), strict=True):
            overall = next((row["auroc"] for row in rows if row["of"] == ALL), None)
            for place, row in enumerate(rows):
                low, high = row["auroc_interval"] or (row["auroc"], row["auroc"])
                colour = VERMILION if overall is not None and high < overall else BLUE
                axes.plot([low, high], [place, place], color=colour, linewidth=1.4)
                axes.plot(row["auroc"], place, "o", color=colour, markersize=4)
            if overall is not None:
                axes.axvline(overall, color=QUIET, linestyle=":", linewidth=1)
            axes.set_yticks(range(len(rows)), [f"{row['of']} {row['name']} ({row['records']})".replace("  ", " ") for row in rows])
            axes.invert_yaxis()
            axes.set(title=label.capitalize(), xlabel="AUROC, 95 % interval over patients", xlim=(0.5, 1.0))
        save(figure, path)
