"""Several seeds through the command line: runs that the other commands take, and two deviations that are not one."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from finetune.__main__ import main
from tests.docs.pages import ROOT, names, tables

LABELS = ("wheeze", "crackle")


@pytest.fixture(scope="module")
def seeded(made: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("seeded") / "runs"
    return out, main(arguments(made, out))


def arguments(made: Path, out: Path, seeds: str = "3,1") -> list[str]:
    data = ["--data.manifest", str(made / "manifest.csv"), "--data.folds", str(made / "folds.csv"), "--trainer.max_epochs", "1"]
    return ["seeds", "-c", str(made / "tiny.yaml"), *data, "--seeds", seeds, "--skip-near-duplicates", "--out", str(out)]


def test_deviations_over_seeds_and_folds_are_apart(seeded: Any) -> None:
    """By hand from the predictions, with scikit-learn."""
    out, figures = seeded
    areas = np.empty((2, 3))
    for row, seed in enumerate((3, 1)):
        table = pd.read_csv(out / f"seed-{seed}" / "oof.csv")
        for fold in range(3):
            of_fold = table[(table["fold"] == fold) & (table["quality"] != "poor")]
            known = {label: of_fold[of_fold[f"target_{label}"].notna()] for label in LABELS}
            areas[row, fold] = np.mean([roc_auc_score(known[label][f"target_{label}"], known[label][f"prob_{label}"]) for label in LABELS])
    found = json.loads((out / "seeds.json").read_text())["figures"]["macro_auroc"]
    assert found["mean"] == pytest.approx(areas.mean())
    assert found["sd_over_seeds"] == pytest.approx(areas.mean(axis=1).std(ddof=1))
    assert found["sd_over_folds"] == pytest.approx(areas.mean(axis=0).std(ddof=1))
    assert figures["figures"]["macro_auroc"] == found and found["sd_over_seeds"] != pytest.approx(found["sd_over_folds"])
    pooled = [json.loads((out / f"seed-{seed}" / "finished.json").read_text())["macro_auroc"] for seed in (3, 1)]
    assert found["pooled_sd_over_seeds"] == pytest.approx(np.std(pooled, ddof=1))
    assert set(pd.read_csv(out / "seeds.csv")) == {"figure", *found}
    (documented,) = tables(ROOT / "docs" / "files.md", "Several seeds")
    assert {name.rstrip("/") for name in names(documented)} == {re.sub(r"^seed-\d$", "seed-<s>", path.name) for path in out.iterdir()}


def test_every_seed_is_a_run_on_the_same_folds(made: Path, seeded: Any) -> None:
    out, figures = seeded
    assert figures["runs"] == [str(out / "seed-3"), str(out / "seed-1")]
    records = [json.loads((Path(run) / "run.json").read_text()) for run in figures["runs"]]
    assert [record["seed"] for record in records] == [3, 1]
    assert records[0]["folds_hash"] == records[1]["folds_hash"]
    assert main(["report", "--run", str(out / "seed-1"), "--resamples", "5", "--examples", "0"])["folds"] == 3
    before = (out / "seed-3" / "fold-0" / "best.ckpt").stat().st_mtime_ns
    assert main(arguments(made, out)) == figures
    assert (out / "seed-3" / "fold-0" / "best.ckpt").stat().st_mtime_ns == before


@pytest.mark.parametrize(("seeds", "code"), [("1,1", 1), ("1", 1), ("1,a", 2), ("", 2)])
def test_wrong_seeds_are_refused(made: Path, tmp_path: Path, capsys: Any, seeds: str, code: int) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments(made, tmp_path / "out", seeds))
    captured = capsys.readouterr()
    assert stop.value.code == code and captured.err.startswith("error: ") and "Traceback" not in captured.err
    assert not (tmp_path / "out").exists()
