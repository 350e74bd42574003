"""Every shipped task trains for a step on made clips, and is documented."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_classes import ROOT, arguments, write_classed

from finetune.__main__ import main

TASKS = sorted((ROOT / "configs" / "tasks").glob("*.yaml"))


@pytest.fixture(scope="module")
def classed(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classed(tmp_path_factory.mktemp("classed"), made)


@pytest.mark.parametrize("config", TASKS, ids=lambda path: path.stem)
def test_a_shipped_task_trains_for_a_step(config: Path, classed: Path, tmp_path: Path) -> None:
    small = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=1"]
    figures = main(["fit", *arguments(classed, config.stem, tmp_path / "run", *small)])
    assert figures["best_epoch"] == 0 and figures["train_clips"] > 5
    predicted = pd.read_csv(tmp_path / "run" / "predictions.csv")
    probabilities = predicted.filter(like="prob_").to_numpy()
    targets = predicted.filter(like="target_").to_numpy(float)
    if config.stem in ("multilabel", "wheeze_binary"):
        assert probabilities.shape[1] in (1, 3)
    else:
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
        known = ~np.isnan(targets).any(axis=1)
        assert known.any() and (targets[known].sum(axis=1) == 1).all() and np.isnan(targets[~known]).all()
    assert figures["train_clips"] + figures["validation_clips"] + len(predicted) <= 48


def test_every_task_of_the_page_has_a_config_and_the_other_way_round() -> None:
    page = (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8")
    for config in TASKS:
        assert f"`{config.stem}`" in page and f"-c configs/tasks/{config.stem}.yaml" in page, config.stem
