"""The report's pictures."""

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from common.page.drawing import PALETTE, QUIET, STYLE, data_uri

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 3
# Title -> metrics of one panel; what ends with "/" stands for all metrics that begin so. Metrics of no panel get their own.
PANELS = {
    "Loss": ("train/loss", "val/loss"),
    "Accuracy": ("train/accuracy", "val/accuracy"),
    "Alignment, 0 is best": ("val/alignment",),
    "Uniformity, lower is better": ("val/uniformity",),
    "Standard deviation, 0 is collapse": ("val/embedding_std",),
    "Effective rank, 1 is collapse": ("val/effective_rank",),
    "kNN probe, AUROC": ("val/knn_auroc/",),
    "Linear probe, AUROC": ("val/linear_auroc/",),
    "Leakage, 0 is chance": ("val/leak_device", "val/leak_patient"),
    "Learning rate": ("train/lr",),
}
# Shown by the mean over the epoch alone.
OF_STEPS = ("train/loss_step",)


def curves_figure(metrics: pd.DataFrame) -> str:
    """All metrics against the epochs that were finished, one panel per kind."""
    import matplotlib
    from matplotlib.figure import Figure

    panels = _panels([str(name) for name in metrics["metric"].unique()])
    with matplotlib.rc_context(STYLE):
        rows = math.ceil(len(panels) / COLUMNS)
        figure = Figure(figsize=(3.8 * COLUMNS, 2.6 * rows), layout="constrained")
        for place, (title, names) in enumerate(panels.items()):
            axes = figure.add_subplot(rows, COLUMNS, place + 1)
            for name, colour in zip(names, PALETTE * len(names), strict=False):
                _curve(axes, metrics[metrics["metric"] == name], name, colour)
            axes.set(title=title, xlabel="epochs")
            axes.margins(x=0.02)
            if len(names) > 1:
                axes.legend()
        return data_uri(figure)


def map_figure(places: np.ndarray, colours: dict[str, np.ndarray], most: int) -> str:
    """A map of clips once for each way to colour it.

    Args:
        places: of the clips, [n, 2].
        colours: what colours them -> its value for each clip ("" where it is not known), str [n].
        most: values that get a colour of their own, the most frequent; the others are grey.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.2 * len(colours), 5.2), layout="constrained")
        for column, (title, values) in enumerate(colours.items()):
            axes = figure.add_subplot(1, len(colours), column + 1)
            _scatter(axes, places, values, most)
            axes.set(title=title, xticks=[], yticks=[])
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=2)
        return data_uri(figure)


def _panels(found: list[str]) -> dict[str, list[str]]:
    panels: dict[str, list[str]] = {}
    for title, wanted in PANELS.items():
        names = [name for want in wanted for name in found if name == want or (want.endswith("/") and name.startswith(want))]
        if names:
            panels[title] = names
    taken = {name for names in panels.values() for name in names} | set(OF_STEPS)
    return panels | {name: [name] for name in found if name not in taken}


def _curve(axes: "Axes", rows: pd.DataFrame, name: str, colour: str) -> None:
    by_epoch = rows.groupby("epoch")["value"].mean()
    marker = "o" if len(by_epoch) < 40 else None
    label = name.rpartition("/")[2] if name.count("/") > 1 else name
    axes.plot(by_epoch.index + 1, by_epoch, color=colour, marker=marker, markersize=3, linewidth=1.4, label=label)


def _scatter(axes: "Axes", places: np.ndarray, values: np.ndarray, most: int) -> None:
    ranked = [value for value, _ in Counter(values[values != ""].tolist()).most_common()]
    own, others = ranked[:most], ranked[most:]
    groups: list[tuple[str, Any, str]] = [("not known", values == "", "#d3d8dd"), (f"{len(others)} others", np.isin(values, others), QUIET)]
    groups += [(value, values == value, colour) for value, colour in zip(own, _colours(len(own)), strict=True)]
    area = float(np.clip(4000 / len(places), 8, 40))
    for label, chosen, colour in groups:
        if chosen.any():
            x, y = places[chosen].T
            axes.scatter(x, y, s=area, color=colour, alpha=0.8, linewidths=0, label=f"{label} ({int(chosen.sum())})")


def _colours(count: int) -> list[Any]:
    import matplotlib

    # More than eight colours nobody can tell apart at a glance; these at least differ.
    return list(PALETTE[:count]) if count <= len(PALETTE) else [matplotlib.colormaps["tab20"](number % 20) for number in range(count)]
