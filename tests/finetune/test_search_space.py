"""What a search tries: the space and the options that say it, and what of them is refused."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from made_search import search_arguments
from refusals import sentence

from finetune.__main__ import main


def test_a_grid_is_every_combination_once(made: Path, tmp_path: Path) -> None:
    space = "model.dropout: {low: 0.0, high: 0.4, step: 0.2}\nmodel.mode: {choices: [full, linear_probe]}"
    args = search_arguments(
        made, tmp_path / "found", space, "--fold", "0", "--sampler", "grid", "--inner-runs", "1", "--trainer.max_epochs", "1"
    )
    main([*args, "--trials", "2"])
    main(args)
    table = pd.read_csv(tmp_path / "found" / "fold-0" / "trials.csv")
    found = sorted(zip(table["model.dropout"].round(6), table["model.mode"], strict=True))
    assert found == [(dropout, mode) for dropout in (0.0, 0.2, 0.4) for mode in ("full", "linear_probe")]


def test_trials_that_do_not_work_are_left_out(made: Path, tmp_path: Path, capsys: Any) -> None:
    space = "model.encoder.init_args.channels: {choices: [[8], [4, 8, 8, 8, 8, 8, 8, 8]]}"
    main(
        search_arguments(made, tmp_path / "found", space, "--fold", "0", "--sampler", "grid", "--inner-runs", "1", "--seed_everything", "1")
    )
    table = pd.read_csv(tmp_path / "found" / "fold-0" / "trials.csv").sort_values("state")
    assert list(table["state"]) == ["complete", "fail"] and "does not take" in table["refused"].iloc[1]


@pytest.mark.parametrize(
    ("space", "words", "code"),
    [
        ("model.lrate: {low: 0.1, high: 0.2}", "lrate", 2),
        ("model.lr: {choices: [fast]}", "model.lr", 2),
        ("data.batch_size: {low: 0.5, high: 8.5}", "data.batch_size", 2),
        ("data.folds: {choices: [a.csv]}", "data.folds is not to be searched", 1),
        ("model.task.init_args.labels: {choices: [[wheeze]]}", "is not to be searched", 1),
        ("model.lr: {low: 1e-4, high: 0.1}", "with the point", 1),
        ("model.lr: {low: 0.1, high: 0.01}", "low below high", 1),
        ("model.lr: {low: 0.0, high: 0.1, log: true}", "more than 0 where log is true", 1),
        ("model.lr: [0.1, 0.2]", "expected {choices: [...]}", 1),
        ("- model.lr", "holds no mapping", 1),
        ("a: [", "is not YAML", 1),
    ],
)
def test_a_wrong_space_is_refused_by_name(made: Path, tmp_path: Path, capsys: Any, space: str, words: str, code: int) -> None:
    assert words in sentence(capsys, search_arguments(made, tmp_path / "found", space), code)
    assert not (tmp_path / "found").exists()


def test_wrong_options_are_refused(made: Path, tmp_path: Path, capsys: Any) -> None:
    out, space = tmp_path / "found", "model.dropout: {low: 0.0, high: 0.4}"
    assert "no end of values" in sentence(capsys, search_arguments(made, out, space, "--sampler", "grid"))
    assert "--fold is 7, expected 0 to 2" in sentence(capsys, search_arguments(made, out, space, "--fold", "7"))
    assert "--inner-runs is 9" in sentence(capsys, search_arguments(made, out, space, "--inner-runs", "9"))
    assert "too little to divide again" in sentence(capsys, search_arguments(made, out, space, "--inner-folds", "30"))
    # Before the first trial, which would be lost: nothing is written.
    said = sentence(capsys, search_arguments(made, tmp_path / "metric", space, "--metric", "wer"))
    assert "--metric is 'wer', expected one of macro_auroc" in said and "Trial" not in said
    assert not (tmp_path / "metric").exists()
