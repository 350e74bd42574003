"""A search goes on where it was stopped, and ends what is hopeless."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from made_search import SPACE, search_arguments

from finetune.__main__ import main
from finetune.classifier import Classifier
from finetune.search import study as studies

STEP = Classifier.training_step


def test_a_finished_search_runs_nothing_and_more_trials_go_on(made: Path, searched: Any, tmp_path: Path) -> None:
    out, figures = searched
    assert main(search_arguments(made, out, SPACE, "--trials", "3")) == figures
    undisturbed = pd.read_csv(out / "fold-0" / "trials.csv")
    copy = tmp_path / "found"
    args = search_arguments(made, copy, SPACE, "--fold", "0")
    main([*args, "--trials", "1"])
    assert len(pd.read_csv(copy / "fold-0" / "trials.csv")) == 1
    main([*args, "--trials", "3"])
    # In two starts the trials are those of one.
    pd.testing.assert_frame_equal(pd.read_csv(copy / "fold-0" / "trials.csv").drop(columns="seconds"), undisturbed.drop(columns="seconds"))


@pytest.mark.parametrize("sampler", ["tpe", "grid"])
def test_an_interrupted_trial_is_gone_on_with(made: Path, tmp_path: Path, monkeypatch: Any, sampler: str) -> None:
    space = "model.dropout: {choices: [0.0, 0.3]}"
    args = search_arguments(made, tmp_path / "found", space, "--fold", "1", "--sampler", sampler, "--trials", "2")
    undisturbed = main(search_arguments(made, tmp_path / "whole" / "found", space, *args[-6:]))

    def step(module: Classifier, batch: Any, batch_idx: int) -> Any:
        if module.current_epoch == 1:
            raise KeyboardInterrupt
        return STEP(module, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(Classifier, "training_step", step)
        with pytest.raises(SystemExit) as stop:
            main(args)
    assert stop.value.code == 130
    checkpoints = list((tmp_path / "found" / "fold-1" / "trials").glob("*/fold-*/last.ckpt"))
    assert checkpoints
    again = main(args)
    assert again["best"] == undisturbed["best"]
    table = pd.read_csv(tmp_path / "found" / "fold-1" / "trials.csv")
    assert list(table["state"]) == ["fail", "complete", "complete"] and table["model.dropout"][0] == table["model.dropout"][1]
    assert len(list((tmp_path / "found" / "fold-1" / "trials").iterdir())) == 2


def test_a_hopeless_trial_is_pruned(made: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """With some learning rates that do nothing among more that learn, those of them that come after the first trials end early."""
    monkeypatch.setattr(studies, "UNPRUNED", 2)
    space = "model.lr: {choices: [0.02, 0.025, 0.03, 0.035, 0.04, 1.0e-9, 1.0e-10]}"
    args = search_arguments(made, tmp_path / "found", space, "--fold", "0", "--sampler", "grid", "--prune-after", "1")
    main([*args, "--inner-runs", "1", "--trainer.max_epochs", "4"])
    table = pd.read_csv(tmp_path / "found" / "fold-0" / "trials.csv")
    pruned = table[table["state"] == "pruned"]
    assert 1e-9 in set(pruned["model.lr"]) and (pruned["epochs"] < 4).all() and pruned["value"].isna().all()
    assert table.loc[table["value"].idxmax(), "model.lr"] > 0.01
    for number in pruned["trial"]:
        (folder,) = (tmp_path / "found" / "fold-0" / "trials" / f"{number:04d}").iterdir()
        # Its held-out clips were not even predicted.
        assert not (folder / "predictions.csv").exists() and not (folder / "last.ckpt").exists()
