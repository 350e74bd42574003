"""Thresholds chosen for a challenge's score: no decision by them alone beats them, and no clip is decided by its own label."""

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest

from common.errors import UserError
from finetune.evaluation.summary import evaluate
from finetune.evaluation.thresholds.for_score import AS_GOOD, score_thresholds
from finetune.tasks.multiclass import MultiClass
from finetune.tasks.multilabel import MultiLabel

CLASSES = {"Adventitious": ["CAS"], "Normal": ["Normal"], "Poor Quality": ["Poor Quality"]}


def task(**more: Any) -> MultiClass:
    return MultiClass(CLASSES, column="record_class", normal="Normal", poor_quality="counts", scores=("sprsound",), **more)


def made(clips: int = 240, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Targets and probabilities that lean to normal: the most probable class misses most of the others."""
    random = np.random.default_rng(seed)
    true = random.choice(3, clips, p=(0.25, 0.65, 0.1))
    logits = random.normal(size=(clips, 3)) + 1.5 * np.eye(3)[true] + np.array([0.0, 2.0, -0.5])
    return np.eye(3)[true], np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def table(targets: np.ndarray, probabilities: np.ndarray, labels: tuple[str, ...]) -> pd.DataFrame:
    number = np.arange(len(targets))
    columns = {"clip_id": number.astype(str), "recording": number.astype(str), "patient": (number // 4).astype(str), "quality": ""}
    columns |= {f"target_{label}": targets[:, index] for index, label in enumerate(labels)}
    columns |= {f"prob_{label}": probabilities[:, index] for index, label in enumerate(labels)}
    return pd.DataFrame(columns | {"fold": number // 4 % 3})


def sprsound(targets: np.ndarray, decided: np.ndarray) -> float:
    """The challenge's formula, clip by clip."""
    true = targets.argmax(axis=1)
    specificity = np.mean([one == 1 for one, of in zip(decided, true, strict=True) if of == 1])
    sensitivity = np.mean([one == of for one, of in zip(decided, true, strict=True) if of != 1])
    return float((specificity + sensitivity) / 4 + specificity * sensitivity / (specificity + sensitivity))


@pytest.mark.parametrize("seed", range(4))
def test_hardly_any_thresholds_do_better(seed: int) -> None:
    targets, probabilities = made(seed=seed)
    found = score_thresholds(targets, probabilities, task())
    assert found is not None and sum(found) == pytest.approx(1)
    reached = sprsound(targets, (probabilities / np.array(found)).argmax(axis=1))
    grid = [np.exp([-one, 0, -other]) for one, other in itertools.product(np.linspace(-4, 4, 33), repeat=2)]
    best = max(sprsound(targets, (probabilities / one).argmax(axis=1)) for one in grid)
    assert reached > best - 3 * AS_GOOD
    assert reached > sprsound(targets, probabilities.argmax(axis=1)) + 0.05


def test_a_fold_is_decided_by_the_labels_of_the_others() -> None:
    targets, probabilities = made()
    labels = task().labels
    judged = evaluate(table(targets, probabilities, labels), task(), "score", resamples=2)
    fold = np.arange(len(targets)) // 4 % 3
    flipped = np.where((fold == 1)[:, None], np.roll(targets, 1, axis=1), targets)
    again = evaluate(table(flipped, probabilities, labels), task(), "score", resamples=2)
    assert again.fold_thresholds[1].values == judged.fold_thresholds[1].values
    assert again.fold_thresholds[0].values != judged.fold_thresholds[0].values
    np.testing.assert_array_equal(judged.decisions[fold == 1], again.decisions[fold == 1])
    expected = np.concatenate([probabilities[fold == k] / np.array(score_thresholds(targets[fold != k], probabilities[fold != k], task()))
                               for k in range(3)]).argmax(axis=1)  # fmt: skip
    decided = np.concatenate([judged.decisions[fold == k] for k in range(3)]).argmax(axis=1)
    np.testing.assert_array_equal(decided, expected)
    found = judged.pooled.classes.figures["sprsound_score"]
    assert found == pytest.approx(sprsound(targets, judged.decisions.argmax(axis=1)))
    assert judged.thresholds.rule == "score" and judged.thresholds.values == score_thresholds(targets, probabilities, task())


def test_one_number_is_enough_where_probabilities_are_true() -> None:
    """Of classes drawn by their probabilities; and with some hundred clips it does better on others than a number per class."""
    names = ["Normal", *"ABCDE"]
    many = MultiClass({name: [name] for name in names}, column="x", normal="Normal", scores=("sprsound",))
    random = np.random.default_rng(1)

    def drawn(clips: int) -> tuple[np.ndarray, np.ndarray]:
        logits = 1.5 * random.normal(size=(clips, 6)) + np.array([2.0, 0.5, 0, 0, -0.5, -1])
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        true = (random.random((clips, 1)) > probabilities.cumsum(axis=1)).sum(axis=1).clip(max=5)
        return np.eye(6)[true], probabilities

    def reached(thresholds: tuple[float, ...] | None, targets: np.ndarray, probabilities: np.ndarray) -> float:
        assert thresholds is not None
        true, decided = targets.argmax(axis=1), (probabilities / np.array(thresholds)).argmax(axis=1)
        sides = [np.mean(decided[true == 0] == 0), np.mean((decided == true)[true > 0])]
        return float(sum(sides) / 4 + sides[0] * sides[1] / sum(sides))

    whole, judged = drawn(20_000), drawn(20_000)
    alone = score_thresholds(*whole, many, normal_alone=True)
    assert alone is not None and len(set(alone[1:])) == 1 and alone[0] > alone[1]
    assert reached(alone, *judged) > reached(score_thresholds(*whole, many), *judged) - AS_GOOD
    gains = []
    for _ in range(8):
        few = drawn(300)
        gains.append(reached(score_thresholds(*few, many, normal_alone=True), *judged) - reached(score_thresholds(*few, many), *judged))
    assert np.mean(gains) > 0.005


@pytest.mark.parametrize("rule", ["score", "normal"])
def test_the_rule_is_that_of_the_report(rule: Any) -> None:
    targets, probabilities = made()
    found = evaluate(table(targets, probabilities, task().labels), task(), rule, resamples=2).thresholds
    assert found.rule == rule and (len({round(value, 9) for value in found.values}) == 2) == (rule == "normal")


def test_where_there_is_one_side_only_all_thresholds_are_alike() -> None:
    targets, probabilities = made()
    assert score_thresholds(np.tile(np.eye(3)[1], (len(targets), 1)), probabilities, task()) is None
    assert score_thresholds(np.full(targets.shape, np.nan), probabilities, task()) is None


@pytest.mark.parametrize(
    "other", [MultiLabel(), MultiClass(CLASSES, column="x", scores=()), MultiClass(CLASSES, column="x", normal="Normal")]
)
def test_a_task_without_a_challenge_is_one_sentence(other: Any) -> None:
    targets, probabilities = made()
    with pytest.raises(UserError, match="has none: choose youden, f1 or equal"):
        evaluate(table(targets, probabilities, other.labels), other, "score", resamples=2)
