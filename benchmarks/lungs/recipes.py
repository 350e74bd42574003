"""The recipes that the benchmark compares: runs of `finetune baseline`, how they become one, and how their classes are decided."""

from dataclasses import dataclass
from pathlib import Path

from finetune.evaluation.thresholds.per_label import Rule

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
# Runs of `finetune baseline` by the name that packaged predictions have.
MEMBERS = {
    "floor": CONFIGS / "baseline_audioset.yaml",
    "layers": CONFIGS / "baseline_lungs.yaml",
    "events": CONFIGS / "baseline_events.yaml",
}
# The one that learns from annotated events too, where there are any within the clips.
TAUGHT = "events"


@dataclass(frozen=True)
class Recipe:
    """A way to tell sounds apart.

    Attributes:
        title: what the table calls it.
        members: of `MEMBERS`; several runs are stacked by ``finetune ensemble``.
        thresholds: that decide classes which exclude each other; None as the task does by itself.
    """

    title: str
    members: tuple[str, ...]
    thresholds: Rule | None = None


RECIPES = {
    "floor": Recipe("frozen AudioSet network, its last layer, logistic regression", ("floor",)),
    "strongest": Recipe(
        "the same stacked with earlier layers and annotated events, classes decided for the score", tuple(MEMBERS), "normal"
    ),
}
