"""Figures over decided classes: the challenges' formulas, a hand-worked example, scikit-learn, and the bootstrap clip by clip."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from finetune.evaluation.metrics.class_scores import ClassTask, class_draws, class_scores
from finetune.evaluation.metrics.icbhi_score import icbhi_score
from finetune.evaluation.metrics.scores import figure_names, score
from finetune.tasks.base import Task
from finetune.tasks.multiclass import MultiClass
from finetune.tasks.multilabel import MultiLabel

NAMES = ("Adventitious", "Normal", "Poor Quality")
SPRSOUND = ClassTask(("icbhi", "sprsound", "recall"), True, "Normal")


def one_hot(numbers: list[int] | np.ndarray, classes: int = 3) -> np.ndarray:
    return np.eye(classes)[np.asarray(numbers)]


def test_the_hand_worked_example():
    """10 clips: of 4 normal 3 are found, of 4 adventitious 1, of 2 of poor quality 1, so SP = 3/4 and SE = (1 + 1) / 6."""
    true = [1, 1, 1, 1, 0, 0, 0, 0, 2, 2]
    decided = [1, 1, 1, 0, 0, 1, 1, 2, 2, 1]
    found = class_scores(one_hot(true), one_hot(decided), NAMES, ("Adventitious", "Poor Quality"), SPRSOUND)
    assert found.classes == ("Normal", "Adventitious", "Poor Quality"), "the normal class comes first whatever the order of the outputs"
    np.testing.assert_array_equal(found.confusion, [[3, 1, 0], [2, 1, 1], [1, 0, 1]])
    specificity, sensitivity = 3 / 4, 2 / 6
    average, harmonic = 13 / 24, 2 * (3 / 4) * (1 / 3) / (13 / 12)
    assert found.figures == pytest.approx(
        {
            "icbhi_score": average,
            "icbhi_sensitivity": sensitivity,
            "icbhi_specificity": specificity,
            "sprsound_score": (average + harmonic) / 2,
            "sprsound_average_score": average,
            "sprsound_harmonic_score": harmonic,
            "sprsound_sensitivity": sensitivity,
            "sprsound_specificity": specificity,
            "uar": (3 / 4 + 1 / 4 + 1 / 2) / 3,
            "accuracy": 5 / 10,
            "macro_f1_all": (2 * 3 / (4 + 6) + 2 / (4 + 2) + 2 / (2 + 2)) / 3,
        }
    )


@pytest.mark.parametrize(
    "task", [MultiLabel(), MultiClass({name: [name] for name in NAMES}, column="x", normal="Normal", scores=("icbhi", "sprsound"))]
)
def test_the_names_of_a_task_s_figures_are_known_without_clips(task: Task):
    targets = one_hot([0, 1, 2, 0])
    found = score(targets, np.full((4, 3), 0.5), targets, task.labels, task.scored, ClassTask.of(task))
    assert figure_names(task) == list(found.flat())


clips = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=8, max_size=40)


@given(clips)
def test_figures_agree_with_scikit_learn_and_with_the_icbhi_score(pairs):
    true, decided = np.array(pairs).T
    # Every class has a clip, without which scikit-learn averages over those that have one.
    true[:4] = range(4)
    names = ("normal", "crackle", "wheeze", "both")
    found = class_scores(one_hot(true, 4), one_hot(decided, 4), names, names[1:], ClassTask(("icbhi", "recall"), True, "normal")).figures
    assert found["uar"] == pytest.approx(balanced_accuracy_score(true, decided))
    assert found["accuracy"] == pytest.approx(accuracy_score(true, decided))
    assert found["macro_f1_all"] == pytest.approx(f1_score(true, decided, average="macro", labels=range(4), zero_division=0))
    # The score of sets of labels holds for one-hot decisions as it is.
    sets = icbhi_score(one_hot(true, 4)[:, 1:], one_hot(decided, 4)[:, 1:], names[1:])
    assert (found["icbhi_score"], found["icbhi_sensitivity"], found["icbhi_specificity"]) == pytest.approx(
        (sets.score, sets.sensitivity, sets.specificity)
    )


@given(clips, st.integers(0, 10**6))
def test_a_weighted_figure_is_that_of_the_repeated_clips(pairs, seed):
    targets, decisions = (one_hot(column, 4) for column in np.array(pairs).T)
    targets[0] = np.nan
    weights = np.random.default_rng(seed).integers(0, 3, (5, len(targets)))
    names = ("normal", "crackle", "wheeze", "both")
    task = ClassTask(("icbhi", "sprsound", "recall"), True, "normal", ("wheeze",))
    drawn = class_draws(targets, decisions, weights.astype(float), names, names[1:], task)
    for number, times in enumerate(weights):
        repeated = class_scores(np.repeat(targets, times, axis=0), np.repeat(decisions, times, axis=0), names, names[1:], task)
        for name, value in repeated.figures.items():
            assert drawn[name][number] == pytest.approx(np.nan if value is None else value, nan_ok=True)


def test_what_the_clips_cannot_give_is_none_and_a_harmonic_score_of_nothing_found_is_0():
    labels = ("Adventitious", "Poor Quality")
    nothing_right = class_scores(one_hot([0, 1]), one_hot([1, 0]), NAMES, labels, SPRSOUND)
    assert nothing_right.figures["sprsound_harmonic_score"] == 0 and nothing_right.figures["sprsound_score"] == 0
    assert nothing_right.figures["uar"] is None, "no clip is of poor quality"
    only_normal = class_scores(one_hot([1, 1]), one_hot([1, 0]), NAMES, labels, SPRSOUND).figures
    assert only_normal["sprsound_score"] is None and only_normal["sprsound_specificity"] == 0.5 and only_normal["accuracy"] == 0.5


def test_a_class_that_cannot_be_evaluated_is_in_no_mean_but_in_the_shares_of_clips():
    labels = ("Adventitious", "Poor Quality")
    task = ClassTask(("sprsound", "recall"), True, "Normal", ("Poor Quality",))
    found = class_scores(one_hot([0, 0, 1, 2]), one_hot([0, 1, 1, 1]), NAMES, labels, task).figures
    assert found["uar"] == pytest.approx((1 / 2 + 1) / 2)
    assert found["accuracy"] == pytest.approx(2 / 4) and found["sprsound_sensitivity"] == pytest.approx(1 / 3)


def test_one_class_alone_has_no_average_recall():
    """It would be 1 for whoever decides nothing else."""
    true, decided = one_hot([0, 0, 1, 2]), one_hot([0, 0, 0, 0])
    task = ClassTask(("recall",), True, "Normal", ("Normal", "Poor Quality"))
    found = class_scores(true, decided, NAMES, ("Adventitious",), task).figures
    assert found["uar"] is None and found["macro_f1_all"] is None and found["accuracy"] == 0.5
    draws = class_draws(true, decided, np.ones((2, 4)), NAMES, ("Adventitious",), task)
    assert np.isnan(draws["uar"]).all()


def test_a_task_has_only_its_own_scores():
    voice = ClassTask(("recall",), True, None)
    found = class_scores(one_hot([0, 1, 2]), one_hot([0, 1, 2]), ("1", "2", "3"), ("1", "2", "3"), voice)
    assert set(found.figures) == {"uar", "accuracy", "macro_f1_all"} and found.classes == ("1", "2", "3")
