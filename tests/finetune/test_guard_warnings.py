"""What the split guard warns of: recorders that tell the label, labels without positives."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_breaths import arguments, findings, save, write_data

from finetune.__main__ import main
from finetune.guard.confounding import cramers_v


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sound data in a folder that no test writes to."""
    folder = tmp_path_factory.mktemp("clean")
    write_data(folder)
    return folder


@pytest.mark.parametrize(("column", "code"), [("device", "device_tells_label"), ("sample_rate", "rate_tells_label")])
def test_a_recorder_that_tells_the_label_is_warned_of(column: str, code: str, clean: Path, tmp_path: Path, capsys: Any) -> None:
    table, folds = (pd.read_csv(clean / name) for name in ("manifest.csv", "folds.csv"))
    table[column] = np.where(table["wheeze"] == 1, 44100, 4000)
    save(tmp_path, table, folds)
    main(arguments(tmp_path, "--store", str(clean / "store")))
    assert findings(tmp_path) == [(code, "normal", ""), (code, "wheeze", "")]
    assert "Cramér's V 1.00" in capsys.readouterr().err


def test_a_label_without_positives_in_a_fold_is_warned_of(clean: Path, tmp_path: Path) -> None:
    table, folds = (pd.read_csv(clean / name) for name in ("manifest.csv", "folds.csv"))
    table.loc[folds["fold"] == 2, "crackle"] = 0
    save(tmp_path, table, folds)
    assert main(arguments(tmp_path, "--store", str(clean / "store")))["warnings"] == 1
    assert findings(tmp_path) == [("label_without_positives", "crackle", "")]


def test_cramers_v_is_that_of_scipy() -> None:
    from scipy.stats.contingency import association, crosstab

    random = np.random.default_rng(0)
    device, label = random.integers(0, 4, 300), random.integers(0, 2, 300)
    expected = association(crosstab(device, label).count, method="cramer")
    assert cramers_v(device, label) == pytest.approx(expected)
