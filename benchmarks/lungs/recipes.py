"""The recipes that the benchmark compares: of which runs they are made, how these become one, and how their classes are decided."""

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
# SimCLR on the training patients of each fold, then fine-tuning: the stages' own configs, for a GPU or ("_small") for a processor.
DEFAULT = "default"
DEFAULT_CONFIGS = {
    "full": (CONFIGS / "pretrain.yaml", CONFIGS / "finetune.yaml"),
    "small": (CONFIGS / "pretrain_small.yaml", CONFIGS / "finetune_small.yaml"),
}


@dataclass(frozen=True)
class Recipe:
    """A way to tell sounds apart.

    Attributes:
        title: what the table calls it.
        members: of `MEMBERS`, or `DEFAULT`; several runs are stacked by ``finetune ensemble``.
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
# With those that only run where they are asked for.
ALL_RECIPES = {**RECIPES, DEFAULT: Recipe("SimCLR on the training patients, then fine-tuning, by the default configs", (DEFAULT,))}
