"""Which classes of a cross-validation are judged at all."""

import pandas as pd
import pytest

from finetune.evaluation.metrics.evaluable import not_evaluable
from finetune.evaluation.out_of_fold import check_out_of_fold
from finetune.tasks.multiclass import MultiClass


@pytest.mark.parametrize(("ill", "healthy"), [(5, 2), (2, 5), (3, 3)])
def test_two_classes_are_judged_both_or_neither(ill: int, healthy: int) -> None:
    """3 folds and one clip per patient: what has clips of 2 patients can be told from nothing in some fold, and so can its other side."""
    classes = ["ill"] * ill + ["healthy"] * healthy
    names = [f"p{number}" for number in range(len(classes))]
    table = pd.DataFrame(
        {"clip_id": names, "recording": names, "patient": names, "quality": "", "fold": [n % 3 for n in range(len(names))]}
    )
    for name in ("healthy", "ill"):
        table[f"target_{name}"] = [float(each == name) for each in classes]
        table[f"prob_{name}"] = 0.5
    task = MultiClass({"healthy": ["healthy"], "ill": ["ill"]}, column="diagnosis", normal="healthy")
    found = not_evaluable(check_out_of_fold(table, task.labels), task)
    fewer = "2 clips of 2 patients, fewer than the 3 folds"
    lacking, other = ("healthy", "ill") if healthy < ill else ("ill", "healthy")
    assert found == ({} if ill == healthy else {lacking: fewer, other: f"all other classes have {fewer}"})
