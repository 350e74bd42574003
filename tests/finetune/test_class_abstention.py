"""Abstaining where classes exclude each other: against the definition written slowly, by hand, and through the report."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_run import write_run

from finetune.__main__ import main
from finetune.evaluation.abstention.per_class import choose_limit
from finetune.tasks.multiclass import MultiClass

CLASSES = ("healthy", "chronic", "acute")
TASK = MultiClass({name: [name] for name in CLASSES}, column="diagnosis", normal="healthy")


def made_oof(skill: float = 1.5, patients: int = 48, folds: int = 4) -> pd.DataFrame:
    """One class per patient, five clips each; the acute ones are the least sure."""
    generator = np.random.default_rng(1)
    patient = np.repeat(np.arange(patients), 5)
    truth = patient % 3
    logits = generator.normal(size=(len(patient), 3)) * np.where(truth == 2, 1.2, 2.0)[:, None]
    logits[np.arange(len(truth)), truth] += np.where(truth == 2, 0.8, skill)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    table = pd.DataFrame({"clip_id": [f"c{i:03d}" for i in range(len(patient))], "recording": [f"r{i:03d}" for i in range(len(patient))]})
    table["patient"] = [f"p{p:02d}" for p in patient]
    table = table.assign(device="made", site="", quality="", fold=patient // 3 % folds)
    for column, label in enumerate(CLASSES):
        table[f"target_{label}"] = (truth == column).astype(int)
        table[f"prob_{label}"] = probabilities[:, column]
    return table


def judged(oof: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Highest probability, whether its class is the wrong one, and the fold, of each clip."""
    probabilities, truth = oof[[f"prob_{label}" for label in CLASSES]].to_numpy(), oof[[f"target_{label}" for label in CLASSES]].to_numpy()
    return probabilities.max(axis=1), probabilities.argmax(axis=1) != truth.argmax(axis=1), oof["fold"].to_numpy()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = write_run(tmp_path_factory.mktemp("classes") / "run", made_oof(), task=TASK.describe())
    main(["report", "--run", str(run), "--resamples", "50", "--abstain", "0.8", "--examples", "0"])
    return run / "report"


def test_four_clips_by_hand():
    confidence, wrong = np.array([0.9, 0.8, 0.6, 0.4]), np.array([False, True, False, True])
    assert choose_limit(confidence, wrong, 1.0) == pytest.approx(0.85), "the first is right, the second is not"
    assert choose_limit(confidence, wrong, 0.6) == pytest.approx(0.5), "two of three are right, though one of two was not enough"
    assert choose_limit(confidence, wrong, 0.5) == 0.0, "all may be decided"
    assert choose_limit(confidence, ~wrong, 1.0) is None, "the surest is wrong: no limit helps"
    assert choose_limit(np.array([]), np.array([], bool), 0.9) is None


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0.34, 0.5, 0.5001, 0.7, 0.9, 1.0]), st.booleans()), min_size=1, max_size=12), st.floats(0.05, 1.0)
)
def test_no_other_limit_decides_more(clips: list[tuple[float, bool]], kept: float):
    confidence, wrong = np.array([value for value, _ in clips]), np.array([error for _, error in clips])
    found = choose_limit(confidence, wrong, kept)
    decided = {limit: (confidence >= limit) for limit in [0.0, *confidence]}
    enough = [int(rows.sum()) for rows in decided.values() if (~wrong[rows]).sum() >= kept * rows.sum() - 1e-9]
    assert (found is None) == (not enough)
    if found is not None:
        rows = confidence >= found
        assert rows.sum() == max(enough) and (~wrong[rows]).sum() >= kept * rows.sum() - 1e-9


def test_the_limit_that_decides_a_fold_is_that_of_the_others(report: Path):
    found = json.loads((report / "metrics.json").read_text())["class_abstention"]
    confidence, wrong, fold = judged(made_oof())
    decided = np.zeros(len(fold), bool)
    for k in np.unique(fold):
        decided[fold == k] = confidence[fold == k] >= choose_limit(confidence[fold != k], wrong[fold != k], 0.8)
    assert found["kept"] == 0.8 and found["n"] == len(fold)
    assert found["limit"] == pytest.approx(choose_limit(confidence, wrong, 0.8)) and 0 < found["limit"] < 1
    assert found["coverage"] == pytest.approx(decided.mean()) and 0.1 < found["coverage"] < 0.95
    assert found["risk"] == pytest.approx(wrong[decided].mean()) and found["risk"] < found["full_risk"] == pytest.approx(wrong.mean())
    for label, coverage in found["class_coverage"].items():
        assert coverage == pytest.approx(decided[made_oof()[f"target_{label}"] == 1].mean())
    assert found["class_coverage"]["acute"] < found["class_coverage"]["healthy"], "the least sure class is left out most"
    for name in ("coverage", "risk", "full_risk", "area", "coverage_acute"):
        low, high = found["intervals"][name]
        assert low < high


def test_the_area_is_the_mean_risk_over_coverages(report: Path):
    found = json.loads((report / "metrics.json").read_text())["class_abstention"]
    confidence, wrong, _ = judged(made_oof())
    surest = wrong[np.argsort(-confidence)]
    assert found["area"] == pytest.approx(np.mean([surest[:count].mean() for count in range(1, len(surest) + 1)]))


def test_the_page_shows_it_and_other_tasks_have_bands(report: Path):
    page = " ".join((report / "report.html").read_text().split())
    assert "Limit of the highest probability, all folds" in page and "by which 80 % of the decided clips" in page
    assert "Share of acute that is decided" in page and json.loads((report / "metrics.json").read_text())["abstention"] == {}


def test_one_fold_has_the_curve_alone(tmp_path: Path):
    oof = made_oof(folds=1)
    run = write_run(tmp_path / "run", oof, task=TASK.describe())
    main(["report", "--run", str(run), "--resamples", "5", "--examples", "0"])
    found = json.loads((run / "report" / "metrics.json").read_text())["class_abstention"]
    assert found["coverage"] is None and found["risk"] is None and found["full_risk"] == pytest.approx(judged(oof)[1].mean())
    assert set(found["class_coverage"].values()) == {None} and found["area"] > 0


def test_clips_without_a_class_are_left_out(tmp_path: Path):
    oof = made_oof().astype({f"target_{label}": "Int64" for label in CLASSES})
    oof.loc[:9, [f"target_{label}" for label in CLASSES]] = pd.NA
    run = write_run(tmp_path / "run", oof, task=TASK.describe())
    main(["report", "--run", str(run), "--resamples", "5", "--examples", "0"])
    assert json.loads((run / "report" / "metrics.json").read_text())["class_abstention"]["n"] == len(oof) - 10
