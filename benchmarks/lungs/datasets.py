"""The datasets of the benchmark: how each becomes clips and folds, and what is told from them; SPRSound's clips are of two units."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.lungs.recipes import CONFIGS
from common.datasets.sprsound import TYPE_COLUMNS
from common.errors import UserError
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
class Unit:
    """What the clips of a dataset are, and what is told from them.

    Attributes:
        manifest: arguments of ``common manifest`` beside root and output.
        tasks: name -> what is judged.
        folds: arguments of ``finetune folds`` beside manifest, output, number and seed.
        about: further columns that say whom and what a clip is of, for the analysis of errors; those of `SOUNDS` are 1, 0 or empty.
        events: the unit whose clips are the annotated events within the clips of this one; None where there are none, as in ICBHI, whose
            annotated cycles are the clips themselves.
        window_s: length of the windows of the network over frames, s; None as its config has it.
        folder: of its manifest, folds and packages, within that of the benchmark; its counts begin with the same name.
    """

    manifest: tuple[str, ...]
    tasks: dict[str, Judged]
    folds: tuple[str, ...] = ()
    about: tuple[str, ...] = ()
    events: "Unit | None" = None
    window_s: float | None = None
    folder: str = ""

    @property
    def labels(self) -> tuple[str, ...]:
        """Label columns that the tasks read from the manifest."""
        return tuple(dict.fromkeys(name for judged in self.tasks.values() for name in judged.task().label_columns))

    @property
    def classes(self) -> tuple[str, ...]:
        """Class columns that the tasks read from the manifest."""
        return tuple(dict.fromkeys(name for judged in self.tasks.values() for name in judged.task().class_columns))


def wheeze_and_crackle() -> MultiLabel:
    # Normal is their complement and adds nothing to the mean of the two.
    return MultiLabel(LABELS, exclusive=None)


def _events(classes: dict[str, list[str]]) -> Callable[[], Task]:
    return lambda: MultiClass(classes, column="event_type", normal="Normal", scores=("sprsound",))


def _records(classes: dict[str, list[str]]) -> Callable[[], Task]:
    return lambda: MultiClass(classes, column="record_class", normal="Normal", poor_quality="counts", scores=("sprsound",))


def _score(number: str, task: Callable[[], Task]) -> Judged:
    """A task of SPRSound's challenge, for example "2-1"."""
    return Judged("sprsound_score", f"Task {number}, SPRSound Score", CONFIGS / "tasks" / f"sprsound_{number.replace('-', '_')}.yaml", task)


WHEEZE_CRACKLE = Judged("macro_auroc", "wheeze and crackle, macro AUROC", None, wheeze_and_crackle)
TASK_1_1 = _events(
    {"Normal": ["Normal"], "Adventitious": ["Rhonchi", "Wheeze", "Stridor", "Coarse Crackle", "Fine Crackle", "Wheeze+Crackle"]}
)
TASK_1_2 = _events(
    {
        **{name: [name] for name in ("Normal", "Rhonchi", "Wheeze", "Stridor", "Coarse Crackle", "Fine Crackle")},
        "Wheeze and Crackle": ["Wheeze+Crackle"],
    }
)
TASK_2_1 = _records({"Normal": ["Normal"], "Adventitious": ["CAS", "DAS", "CAS & DAS"], "Poor Quality": ["Poor Quality"]})
TASK_2_2 = _records({"Normal": ["Normal"], "CAS": ["CAS"], "DAS": ["DAS"], "CAS and DAS": ["CAS & DAS"], "Poor Quality": ["Poor Quality"]})

EVENTS = Unit(
    manifest=("sprsound", "--unit", "events"),
    tasks={"task_1_1": _score("1-1", TASK_1_1), "task_1_2": _score("1-2", TASK_1_2)},
    # Nine breaths of ten are no longer.
    window_s=2.0,
    folder="events",
)
RECORDS = Unit(
    manifest=("sprsound",),
    tasks={"wheeze_crackle": WHEEZE_CRACKLE, "task_2_1": _score("2-1", TASK_2_1), "task_2_2": _score("2-2", TASK_2_2)},
    about=("site", "age_years", "sex", *SOUNDS),
    events=EVENTS,
)
DATASETS = {
    "sprsound": (RECORDS, EVENTS),
    "icbhi": (Unit(manifest=("icbhi",), folds=("--scheme", "official"), tasks={"wheeze_crackle": WHEEZE_CRACKLE}),),
    "takehome": (Unit(manifest=("takehome",), tasks={"wheeze_crackle": WHEEZE_CRACKLE}),),
}


def chosen(dataset: str, tasks: Sequence[str] | None) -> list[Unit]:
    """The dataset's units with those of their tasks that are named; all of them by default.

    Raises:
        UserError: the dataset has no such task.
    """
    units = DATASETS[dataset]
    known = [name for unit in units for name in unit.tasks]
    unknown = [name for name in tasks or () if name not in known]
    if unknown:
        raise UserError(f"--tasks names {unknown[0]!r}, which {dataset} has not: expected some of {', '.join(known)}.")
    parts = [replace(unit, tasks={name: unit.tasks[name] for name in unit.tasks if not tasks or name in tasks}) for unit in units]
    return [part for part in parts if part.tasks]


def is_whole(name: str, manifest: Path) -> bool:
    """Whether the dataset's own split can be used: of ICBHI it divides all recordings, and part of them are a smoke test."""
    import pandas as pd

    return name != "icbhi" or pd.read_csv(manifest, usecols=["recording"])["recording"].nunique() == ICBHI_RECORDINGS
