"""Resampling of a baseline's training clips: inside the training folds, between neighbours, by classes."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from made_baseline import PACKAGE, arguments, by_hand, write_config
from refusals import refusal
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from finetune.__main__ import main
from finetune.baseline import resampling
from finetune.baseline.classifiers import Logistic, SklearnClassifier, SupportVectors
from finetune.baseline.model import BaselineModel
from finetune.baseline.resampling import RandomOversampling, Resampling, Smote
from finetune.tasks.base import Task


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_config(tmp_path)


@pytest.mark.parametrize("name", ["RandomOversampling", "Smote"])
def test_no_resampled_clip_reaches_validation_or_held_out(made: Path, config: Path, tmp_path: Path, monkeypatch: Any, name: str) -> None:
    """Followed by their features: what goes into resampling is the fold's training clips, what is predicted was never in it."""
    into: list[np.ndarray] = []
    made_up: list[np.ndarray] = []
    predicted: list[np.ndarray] = []
    cls: type[Resampling] = getattr(resampling, name)
    resample, probabilities = cls.resample, BaselineModel.probabilities

    def followed(self: Resampling, features: np.ndarray, classes: np.ndarray, seed: int) -> Any:
        into.append(features)
        more, of_classes = resample(self, features, classes, seed)
        assert len(set(np.bincount(of_classes))) == 1 and len(more) >= len(features)
        made_up.append(more)
        return more, of_classes

    def followed_to_prediction(self: BaselineModel, features: np.ndarray) -> np.ndarray:
        predicted.append(features)
        return probabilities(self, features)

    monkeypatch.setattr(cls, "resample", followed)
    monkeypatch.setattr(BaselineModel, "probabilities", followed_to_prediction)
    unscaled = ["--model.classifier.init_args.standardise", "false"]
    main(arguments(made, config, tmp_path / "run", *unscaled, "--model.resampling", f"{PACKAGE}.resampling.{name}"))
    _, features, targets, folds = by_hand(made)
    assert len(into) == len(made_up) == 9 and len(predicted) == 6 and sum(len(more) for more in made_up) > sum(map(len, into))
    annotated = ~np.isnan(targets).all(axis=1)
    for fold in range(3):
        role = folds[f"role_{fold}"].to_numpy()
        for column in range(3):
            rows = (role == "train") & ~np.isnan(targets[:, column])
            assert np.allclose(into[3 * fold + column], features[rows], atol=1e-4)
        held_out, validating = predicted[2 * fold : 2 * fold + 2]
        assert np.allclose(held_out, features[role == "held_out"], atol=1e-4)
        assert np.allclose(validating, features[(role == "validation") & annotated], atol=1e-4)
        resampled = {row.tobytes() for more in made_up[3 * fold : 3 * fold + 3] for row in more}
        assert not resampled & {row.tobytes() for row in (*held_out, *validating)}
        of_fold = tmp_path / "run" / f"fold-{fold}"
        for file, expected in (("predictions.csv", role == "held_out"), ("validation.csv", (role == "validation") & annotated)):
            assert list(pd.read_csv(of_fold / file)["clip_id"]) == list(folds["clip_id"][expected])


def test_smote_draws_between_neighbours_of_a_class(monkeypatch: Any) -> None:
    features = np.array([[0.0, 0], [0, 1], [0, 2], [0, 3], [10, 0], [12, 0]])
    more, classes = Smote(neighbours=5).resample(features, np.array([0, 0, 0, 0, 1, 1]), 0)
    new = more[6:]
    assert list(classes) == [0, 0, 0, 0, 1, 1, 1, 1]
    assert ((new[:, 0] >= 10) & (new[:, 0] <= 12)).all() and (new[:, 1] == 0).all() and len(np.unique(new[:, 0])) == 2
    more, classes = RandomOversampling().resample(features, np.array([0, 0, 0, 0, 0, 1]), 0)
    assert (more[6:] == [12, 0]).all() and len(more) == 10


class OneOf(Task):
    labels = ("a", "b", "c", "absent")
    one_of = True

    def probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        return logits.softmax(dim=-1)


@pytest.mark.parametrize("classifier", [Logistic(c=0.5), SupportVectors(kernel="linear")], ids=lambda each: type(each).__name__)
def test_classes_that_exclude_each_other_are_one_problem(classifier: SklearnClassifier) -> None:
    random = np.random.default_rng(0)
    number = random.integers(0, 3, 60)
    features = random.normal(size=(60, 4)) + 2 * np.eye(4)[number]
    targets = np.eye(4)[number]
    targets[:5] = np.nan
    model = BaselineModel(OneOf(), classifier)
    model.fit(features, targets)
    found = model.probabilities(features)
    scaled = StandardScaler().fit(features[5:])
    seen, classes, every = scaled.transform(features[5:]), number[5:], scaled.transform(features)
    if isinstance(classifier, Logistic):
        expected = LogisticRegression(C=0.5, class_weight="balanced", max_iter=5000).fit(seen, classes).predict_proba(every)
    else:
        distances = np.exp(SVC(C=1.0, kernel="linear", class_weight="balanced").fit(seen, classes).decision_function(every))
        expected = distances / distances.sum(axis=1, keepdims=True)
    assert np.allclose(found[:, :3], expected, atol=1e-6) and (found[:, 3] == 0).all()
    assert np.allclose(found.sum(axis=1), 1) and (found.argmax(axis=1) == number).mean() > 0.8


def test_what_resampling_cannot_do_is_said(made: Path, config: Path, tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    with pytest.raises(Exception, match="single training clip in this fold"):
        Smote().resample(np.zeros((4, 2)), np.array([0, 0, 0, 1]), 0)
    monkeypatch.setitem(sys.modules, "imblearn", None)
    smote = ["--model.resampling", f"{PACKAGE}.resampling.Smote"]
    assert "pip install 'auscult[baselines]'" in refusal(capsys, arguments(made, config, tmp_path / "run", *smote))
