"""The datasets of the benchmark: how each becomes clips and folds, and what is told from them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.lungs.recipes import CONFIGS
from common.datasets.sprsound import TYPE_COLUMNS
from finetune.tasks.base import Task
from finetune.tasks.multiclass import MultiClass
from finetune.tasks.multilabel import MultiLabel

# Of ICBHI's official split, which needs all of them.
ICBHI_RECORDINGS = 920
LABELS = ("wheeze", "crackle")
# Column of a fine type of SPRSound's events -> what it is called.
SOUNDS = {column: name.lower() for name, column in TYPE_COLUMNS.items()}


@dataclass(frozen=True)
class Judged:
    """A task of the benchmark.

    Attributes:
        figure: name of the pooled figure that the table shows, see `finetune.evaluation.result.Evaluation`.
        title: what the table calls it.
        config: of the task, given after the recipe's; None where the recipe's own is it.
        task: by which packaged predictions are judged.
    """

    figure: str
    title: str
    config: Path | None
    task: Callable[[], Task]


@dataclass(frozen=True)
class Dataset:
    """A dataset of the benchmark.

    Attributes:
        manifest: arguments of ``common manifest`` beside root and output.
        folds: arguments of ``finetune folds`` beside manifest, output, number and seed.
        tasks: name -> what is judged.
        about: further columns that say whom and what a clip is of, for the analysis of errors; those of `SOUNDS` are 1, 0 or empty.
        classes: class columns that the tasks read from the manifest, beside `LABELS`.
        events: arguments of ``common manifest`` for its annotated events, beside root and output; none where it has no events within its
            clips, as ICBHI, whose annotated cycles are the clips themselves.
    """

    manifest: tuple[str, ...]
    folds: tuple[str, ...]
    tasks: dict[str, Judged]
    about: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    events: tuple[str, ...] = ()


def wheeze_and_crackle() -> MultiLabel:
    # Normal is their complement and adds nothing to the mean of the two.
    return MultiLabel(LABELS, exclusive=None)


def _records(classes: dict[str, list[str]]) -> Callable[[], Task]:
    return lambda: MultiClass(classes, column="record_class", normal="Normal", poor_quality="counts", scores=("sprsound",))


def _task(name: str) -> Path:
    return CONFIGS / "tasks" / f"{name}.yaml"


WHEEZE_CRACKLE = Judged("macro_auroc", "wheeze and crackle, macro AUROC", None, wheeze_and_crackle)
TASK_2_1 = _records({"Normal": ["Normal"], "Adventitious": ["CAS", "DAS", "CAS & DAS"], "Poor Quality": ["Poor Quality"]})
TASK_2_2 = _records({"Normal": ["Normal"], "CAS": ["CAS"], "DAS": ["DAS"], "CAS and DAS": ["CAS & DAS"], "Poor Quality": ["Poor Quality"]})

DATASETS = {
    "sprsound": Dataset(
        manifest=("sprsound",),
        folds=(),
        tasks={
            "wheeze_crackle": WHEEZE_CRACKLE,
            "task_2_1": Judged("sprsound_score", "Task 2-1, SPRSound Score", _task("sprsound_2_1"), TASK_2_1),
            "task_2_2": Judged("sprsound_score", "Task 2-2, SPRSound Score", _task("sprsound_2_2"), TASK_2_2),
        },
        about=("site", "age_years", "sex", *SOUNDS),
        classes=("record_class",),
        events=("sprsound", "--unit", "events"),
    ),
    "icbhi": Dataset(manifest=("icbhi",), folds=("--scheme", "official"), tasks={"wheeze_crackle": WHEEZE_CRACKLE}),
    "takehome": Dataset(manifest=("takehome",), folds=(), tasks={"wheeze_crackle": WHEEZE_CRACKLE}),
}


def is_whole(name: str, manifest: Path) -> bool:
    """Whether the dataset's own split can be used: of ICBHI it divides all recordings, and part of them are a smoke test."""
    import pandas as pd

    return name != "icbhi" or pd.read_csv(manifest, usecols=["recording"])["recording"].nunique() == ICBHI_RECORDINGS
