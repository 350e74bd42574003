"""The recipes that the benchmark compares: runs of `finetune baseline`, how they become one, and how their classes are decided."""

from dataclasses import dataclass
from pathlib import Path

from finetune.evaluation.thresholds.per_label import Rule

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
AUDIOSET, LUNGS = CONFIGS / "baseline_audioset.yaml", CONFIGS / "baseline_lungs.yaml"


@dataclass(frozen=True)
class Recipe:
    """A way to tell sounds apart.

    Attributes:
        title: what the table calls it.
        configs: of ``finetune baseline``; several runs are stacked by ``finetune ensemble``.
        thresholds: that decide classes which exclude each other; None as the task does by itself.
    """

    title: str
    configs: tuple[Path, ...]
    thresholds: Rule | None = None


RECIPES = {
    "floor": Recipe("frozen AudioSet network, its last layer, logistic regression", (AUDIOSET,)),
    "strongest": Recipe("the same stacked with two earlier layers, classes decided for the score", (AUDIOSET, LUNGS), "score"),
}
