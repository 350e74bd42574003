"""The table and the picture of the label-efficiency curve, from points of known means and differences."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.labels.picture import draw
from benchmarks.labels.table import differences, markdown, summarise


def made_points() -> pd.DataFrame:
    """Two seeds; SimCLR gains 0.1 and 0.3 over scratch at 10 %, and the second seed of AudioSet + SimCLR is missing at 100 %."""
    values = {
        ("scratch", 10): (0.5, 0.5),
        ("simclr", 10): (0.6, 0.8),
        ("audioset", 10): (0.7, 0.72),
        ("audioset_simclr", 10): (0.65, 0.75),
        ("scratch", 100): (0.7, 0.8),
        ("audioset", 100): (0.9, 0.94),
        ("audioset_simclr", 100): (0.91, None),
    }
    rows = []
    for (start, share), areas in values.items():
        for seed, area in enumerate(areas):
            point: dict[str, Any] = {"seed": seed, "start": start, "share": float(share), "macro_auroc": area}
            point |= {"auroc_wheeze": area and area - 0.01, "auroc_crackle": area and area + 0.01}
            point |= {
                "patients": share // 5 + seed,
                "training_patients": 20 + seed,
                "clips": share,
                "remark": "" if area else "seed 1 not evaluable: none with wheeze=1",
            }
            rows.append(point)
    return pd.DataFrame(rows)


def test_the_table_has_means_deviations_and_paired_differences() -> None:
    points = made_points()
    summary = summarise(points).set_index(["start", "share"])
    assert summary.loc[("simclr", 10)][["n", "macro_auroc", "patients"]].tolist() == pytest.approx([2, 0.7, 2.5])
    # Over n - 1: the deviation of 0.6 and 0.8 is 0.2 / sqrt 2.
    assert summary.loc[("simclr", 10), "macro_auroc_sd"] == pytest.approx(0.2 / np.sqrt(2))
    assert summary.loc[("audioset_simclr", 100), "n"] == 1 and np.isnan(summary.loc[("audioset_simclr", 100), "macro_auroc_sd"])
    assert ("simclr", 100) not in summary.index
    gains = differences(points).set_index(["with", "share"])
    assert gains.loc[("simclr", 10)][["n", "mean", "sd", "gained"]].tolist() == pytest.approx([2, 0.2, 0.2 / np.sqrt(2), 2])
    assert gains.loc[("audioset_simclr", 10)][["n", "mean", "gained"]].tolist() == pytest.approx([2, -0.01, 1])
    assert gains.loc[("audioset_simclr", 100)][["n", "mean"]].tolist() == pytest.approx([1, 0.01])
    page = markdown(points, {"command": "the command"})
    assert "| 10 | 0.500 ± 0.000 (2) | 0.700 ± 0.141 (2) | 0.710 ± 0.014 (2) | 0.700 ± 0.071 (2) |" in page
    assert "| 100 | 0.750 ± 0.071 (2) | - | 0.920 ± 0.028 (2) | 0.910 (1) |" in page
    assert "| 10 | -0.010 ± 0.057 (1 of 2) | +0.200 ± 0.141 (2 of 2) |" in page and "| 100 | +0.010 (1 of 1) | - |" in page
    assert "| 100 | 20 of 20, 21 of 21 | 100, 100 | seed 1 not evaluable: none with wheeze=1 |" in page
    assert page.endswith("- command: the command\n")


def test_the_picture_names_its_axes_and_is_the_same_for_the_same_table(tmp_path: Path) -> None:
    summary = summarise(made_points())
    for name in ("one.svg", "two.svg"):
        draw(summary, tmp_path / name)
    picture = (tmp_path / "one.svg").read_text(encoding="utf-8")
    assert picture == (tmp_path / "two.svg").read_text(encoding="utf-8")
    ElementTree.fromstring(picture)
    # Letters are drawn as paths; what they spell is kept as a comment.
    for text in (
        "Labelled training patients, % (log scale)",
        "Macro AUROC (wheeze, crackle), held-out patients",
        "Mean and standard deviation over 1 or 2 seeds",
        *("scratch", "SimCLR", "AudioSet", "AudioSet + SimCLR", "chance", "10", "100"),
    ):
        assert f"<!-- {text} -->" in picture, text
