"""Classical baselines through the command line: the figures of scikit-learn, and run folders as a network's."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_baseline import LABELS, PACKAGE, arguments, by_hand, write_config
from refusals import refusal
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from common.manifest import read_manifest
from finetune.__main__ import main
from finetune.baseline.classifiers import SupportVectors
from finetune.baseline.model import BaselineModel
from finetune.tasks.multilabel import MultiLabel

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "configs").glob("baseline*.yaml"))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_config(tmp_path)


@pytest.mark.parametrize("fit_validation", [False, True])
def test_predictions_are_those_of_scikit_learn_run_by_hand(made: Path, config: Path, tmp_path: Path, fit_validation: bool) -> None:
    main(arguments(made, config, tmp_path / "run", "--data.fit_validation", str(fit_validation).lower()))
    found = pd.read_csv(tmp_path / "run" / "oof.csv")
    table, features, targets, folds = by_hand(made)
    assert list(found["clip_id"]) == list(table["clip_id"]) and list(found["fold"]) == list(folds["fold"])
    expected = np.zeros((len(table), 3))
    for fold in range(3):
        role = folds[f"role_{fold}"].to_numpy()
        training = role != "held_out" if fit_validation else role == "train"
        for column in range(3):
            rows = training & ~np.isnan(targets[:, column])
            pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", max_iter=5000))
            pipeline.fit(features[rows], targets[rows, column])
            expected[role == "held_out", column] = pipeline.predict_proba(features[role == "held_out"])[:, 1]
        assert (tmp_path / "run" / f"fold-{fold}" / "validation.csv").is_file() is not fit_validation
    assert np.allclose(found[[f"prob_{label}" for label in LABELS]], expected, atol=1e-4)


def test_report_and_compare_take_the_run_as_a_network_s(made: Path, config: Path, tmp_path: Path, finished_run: Any, capsys: Any) -> None:
    figures = main(arguments(made, config, tmp_path / "run"))
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == figures
    assert figures["macro_auroc"] > 0.8 and figures["folds"] == 3
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["classifier"]["class_path"] == f"{PACKAGE}.classifiers.Logistic" and record["sample_rate"] == 4000
    reported = main(["report", "--run", str(tmp_path / "run"), "--calibration", "fold_platt", "--resamples", "20", "--examples", "1"])
    page = Path(reported["report"]).read_text()
    assert "Logistic(c=0.1" in page and "SpectrogramFeatures(" in page
    runs = json.dumps([str(finished_run[0]), str(tmp_path / "run")])
    compared = main(["compare", "--runs", runs, "--out", str(tmp_path / "comparison"), "--resamples", "20"])
    comparison = json.loads((tmp_path / "comparison" / "comparison.json").read_text())
    assert comparison["same_folds"] is True and len(comparison["settings"]) == 2 and compared


@pytest.mark.parametrize("name", ["Logistic", "SupportVectors", "RandomForest", "GradientBoosting"])
def test_every_classifier_hears_the_made_sounds_and_does_so_again(made: Path, config: Path, tmp_path: Path, name: str) -> None:
    trees = {"RandomForest": {"num_trees": 40}, "GradientBoosting": {"num_trees": 20, "min_leaf": 3}}
    description = json.dumps({"class_path": f"{PACKAGE}.classifiers.{name}", "init_args": trees.get(name, {})})
    runs = [tmp_path / "one", tmp_path / "two"]
    for run in runs:
        assert main(arguments(made, config, run, "--model.classifier", description))["macro_auroc"] > 0.75
    settings = json.loads((runs[0] / "run.json").read_text())["classifier"]["init_args"]
    assert settings.get("cost", 1.0) == 1.0 and ("c" in settings) == (name == "Logistic"), "the config's c is for another classifier"
    assert (runs[0] / "oof.csv").read_bytes() == (runs[1] / "oof.csv").read_bytes()


def test_a_run_that_is_cut_off_keeps_its_folds(made: Path, config: Path, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    undisturbed = main(arguments(made, config, tmp_path / "undisturbed"))
    fits, fit = [], BaselineModel.fit

    def cut_off(self: BaselineModel, *args: Any) -> None:
        fits.append(1)
        if len(fits) == 3:
            raise KeyboardInterrupt
        fit(self, *args)

    monkeypatch.setattr(BaselineModel, "fit", cut_off)
    run = tmp_path / "run"
    with pytest.raises(SystemExit) as stop:
        main(arguments(made, config, run))
    assert stop.value.code == 130 and not (run / "oof.csv").exists()
    figures = main(arguments(made, config, run))
    assert len(fits) == 4, "finished folds are not fitted again"
    assert figures["macro_auroc"] == undisturbed["macro_auroc"]
    assert (run / "oof.csv").read_bytes() == (tmp_path / "undisturbed" / "oof.csv").read_bytes()
    main(arguments(made, config, run))
    assert len(fits) == 4 and "nothing to do" in capsys.readouterr().err
    assert "classifier.init_args.c=0.1, not 5" in refusal(capsys, arguments(made, config, run, "--model.classifier.init_args.c", "5"))


def test_a_support_vector_machine_s_distance_goes_through_the_sigmoid() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, 40)
    features = random.normal(size=(40, 3)) + truth[:, None]
    model = BaselineModel(MultiLabel(labels=("wheeze",), exclusive=None), SupportVectors(standardise=False))
    model.fit(features, truth[:, None].astype(float))
    distance = SVC(class_weight="balanced").fit(features, truth).decision_function(features)
    assert np.allclose(model.probabilities(features)[:, 0], 1 / (1 + np.exp(-distance)))


def test_a_label_of_one_class_is_said_and_predicted_alike(made: Path, config: Path, tmp_path: Path, capsys: Any) -> None:
    table = read_manifest(made / "manifest.csv", LABELS)
    folds = pd.read_csv(made / "folds.csv")
    table.loc[folds["role_1"] == "train", "wheeze"] = 0.0
    table.to_csv(tmp_path / "manifest.csv", index=False)
    main(arguments(made, config, tmp_path / "run", "--data.manifest", str(tmp_path / "manifest.csv"), "--data.store", str(made / "store")))
    assert "training clips of fold 1 are all of one class in wheeze" in capsys.readouterr().err
    predictions = pd.read_csv(tmp_path / "run" / "fold-1" / "predictions.csv")
    assert (predictions["prob_wheeze"] == 0).all() and predictions["prob_crackle"].nunique() > 5


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_config_runs(config: Path, made: Path, tmp_path: Path) -> None:
    # A made sound fills its clip, which is so an event of itself.
    events = ["--data.events", str(made / "manifest.csv")] if config.stem == "baseline_events" else []
    figures = main(arguments(made, config, tmp_path / "run", *events))
    assert figures["folds"] == 3 and figures["macro_auroc"] > 0.6
