"""The search through the command line: nested, resumable, typed by name, and its choice taken by ``crossval``."""

import json
import re
import shutil
import sqlite3
import threading
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
import yaml
from refusals import sentence

from common.manifest import read_manifest
from finetune.__main__ import main
from finetune.classifier import Classifier
from finetune.search import study as studies
from tests.docs.pages import ROOT, names, tables

SPACE = """
model.lr: {low: 1.0e-3, high: 1.0e-1, log: true}
model.dropout: {low: 0.0, high: 0.4, step: 0.2}
model.encoder.init_args.channels: {choices: [[4, 8], [8]]}
"""
STEP = Classifier.training_step


def arguments(made: Path, out: Path, space: str, *more: str) -> list[str]:
    out.parent.mkdir(parents=True, exist_ok=True)
    (out.parent / "space.yaml").write_text(space)
    data = ["--data.manifest", str(made / "manifest.csv"), "--data.folds", str(made / "folds.csv")]
    short = ["--trainer.max_epochs", "2", "--inner-folds", "2", "--space", str(out.parent / "space.yaml"), "--out", str(out)]
    return ["search", "-c", str(made / "tiny.yaml"), *data, *short, *more]


@pytest.fixture(scope="module")
def searched(made: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A search of all three folds, three trials each."""
    out = tmp_path_factory.mktemp("searched") / "found"
    return out, main(arguments(made, out, SPACE, "--trials", "3"))


def test_no_trial_of_a_fold_sees_its_held_out_clips(made: Path, searched: Any) -> None:
    out, _ = searched
    folds = pd.read_csv(made / "folds.csv")
    for fold in range(3):
        held_out = set(folds["clip_id"][folds["fold"] == fold])
        inner = set(read_manifest(out / f"fold-{fold}" / "manifest.csv")["clip_id"])
        assert held_out and inner == set(folds["clip_id"]) - held_out
        configs = list((out / f"fold-{fold}" / "trials").glob("*/fold-*/config.yaml"))
        assert len(configs) == 3 * 2
        for path in configs:
            data = yaml.safe_load(path.read_text())["data"]
            assert data["manifest"] == str(out / f"fold-{fold}" / "manifest.csv")
            predicted = pd.read_csv(path.parent / "predictions.csv")["clip_id"]
            validated = pd.read_csv(path.parent / "validation.csv")["clip_id"]
            assert not (set(predicted) | set(validated)) & held_out
        roles = pd.read_csv(out / f"fold-{fold}" / "folds.csv")
        for inner_fold in range(2):
            sides = roles.groupby("patient")[f"role_{inner_fold}"].nunique()
            assert (sides == 1).all()


def test_the_best_trial_is_the_highest_and_its_settings_are_written(searched: Any) -> None:
    out, figures = searched
    for fold in range(3):
        table = pd.read_csv(out / f"fold-{fold}" / "trials.csv")
        assert list(table["trial"]) == [0, 1, 2] and set(table["state"]) == {"complete"}
        best = table.loc[table["value"].idxmax()]
        found = figures["best"][str(fold)]
        assert found["value"] == pytest.approx(best["value"]) and found["settings"]["model.lr"] == pytest.approx(best["model.lr"])
        config = yaml.safe_load((out / f"fold-{fold}" / "best.yaml").read_text())
        assert config["model"]["lr"] == found["settings"]["model.lr"]
        channels = config["model"]["encoder"]["init_args"]["channels"]
        assert channels == json.loads(best["model.encoder.init_args.channels"]) == found["settings"]["model.encoder.init_args.channels"]
        assert (out / f"fold-{fold}" / "trials.png").read_bytes().startswith(b"\x89PNG")
    assert not list(out.rglob("*.ckpt"))


def test_the_documentation_names_what_it_leaves(searched: Any) -> None:
    out, _ = searched
    of_search, of_fold = tables(ROOT / "docs" / "files.md", "A search's folder")
    left = {re.sub(r"^fold-\d$", "fold-<k>", path.name) for path in out.iterdir()}
    assert {name.rstrip("/") for name in names(of_search)} == left
    assert {name.rstrip("/") for name in names(of_fold)} == {path.name for path in (out / "fold-0").iterdir()}


def test_the_page_stands_alone_and_says_what_was_chosen_by_whom(searched: Any) -> None:
    out, figures = searched
    page = (out / "search.html").read_text()
    assert figures["page"] == str(out / "search.html")
    sources = re.findall(r'(?:src|href)="([^"]{0,30})', page)
    assert len(sources) == 3 and all(source.startswith("data:image/svg+xml") for source in sources)
    assert "divided into 2 inner folds, of which all are trained" in " ".join(page.split())
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>.*?</tr>", page)]
    chosen = {row[0]: row[1:] for row in rows if len(row) == 4}
    best = [figures["best"][str(fold)] for fold in range(3)]
    assert chosen["Inner macro_auroc"] == [f"{each['value']:.3f}" for each in best]
    assert chosen["model.lr"] == [f"{each['settings']['model.lr']:.4g}" for each in best]
    assert chosen["model.encoder.init_args.channels"] == [json.dumps(each["settings"]["model.encoder.init_args.channels"]) for each in best]
    for fold in range(3):
        first = pd.read_csv(out / f"fold-{fold}" / "trials.csv").sort_values("value", ascending=False).iloc[0]
        assert [str(first["trial"]), f"{first['value']:.3f}", f"{first['model.lr']:.4g}"] in [row[:3] for row in rows]


def test_a_value_is_the_mean_of_the_inner_folds_own_figures(searched: Any) -> None:
    from sklearn.metrics import roc_auc_score

    out, _ = searched
    value = pd.read_csv(out / "fold-0" / "trials.csv")["value"][1]
    areas = []
    for inner in range(2):
        table = pd.read_csv(out / "fold-0" / "trials" / "0001" / f"fold-{inner}" / "predictions.csv")
        for label in ("wheeze", "crackle"):
            known = table[table[f"target_{label}"].notna() & (table["quality"] != "poor")]
            areas.append(roc_auc_score(known[f"target_{label}"], known[f"prob_{label}"]))
    assert value == pytest.approx(sum(areas) / 4)


def test_every_fold_of_crossval_takes_the_settings_chosen_without_it(made: Path, searched: Any, tmp_path: Path) -> None:
    out, figures = searched
    data = ["--data.manifest", str(made / "manifest.csv"), "--data.folds", str(made / "folds.csv"), "--trainer.max_epochs", "1"]
    main(["crossval", "-c", str(made / "tiny.yaml"), *data, "--search", str(out), "--out", str(tmp_path / "run")])
    for fold in range(3):
        config = yaml.safe_load((tmp_path / "run" / f"fold-{fold}" / "config.yaml").read_text())
        settings = figures["best"][str(fold)]["settings"]
        assert config["model"]["lr"] == settings["model.lr"] and config["model"]["dropout"] == settings["model.dropout"]
        assert config["data"]["manifest"] == str(made / "manifest.csv") and config["trainer"]["max_epochs"] == 1


def test_crossval_takes_the_best_config(made: Path, searched: Any, tmp_path: Path) -> None:
    out, figures = searched
    best = str(out / "fold-1" / "best.yaml")
    main(["crossval", "-c", best, "--trainer.max_epochs", "1", "--tracking.wandb", "disabled", "--out", str(tmp_path / "run")])
    config = yaml.safe_load((tmp_path / "run" / "fold-0" / "config.yaml").read_text())
    assert config["model"]["lr"] == figures["best"]["1"]["settings"]["model.lr"]


def test_a_search_with_other_folds_is_refused(made: Path, searched: Any, tmp_path: Path, capsys: Any) -> None:
    out, _ = searched
    main(["folds", "--manifest", str(made / "manifest.csv"), "--out", str(tmp_path / "other.csv"), "--num-folds", "3", "--seed", "5"])
    data = ["--data.manifest", str(made / "manifest.csv"), "--data.folds", str(tmp_path / "other.csv")]
    run = ["crossval", "-c", str(made / "tiny.yaml"), *data, "--search", str(out), "--out", str(tmp_path / "run")]
    assert "may have seen held-out ones" in sentence(capsys, run)
    assert not (tmp_path / "run").exists()


def test_a_finished_search_runs_nothing_and_more_trials_go_on(made: Path, searched: Any, tmp_path: Path) -> None:
    out, figures = searched
    assert main(arguments(made, out, SPACE, "--trials", "3")) == figures
    undisturbed = pd.read_csv(out / "fold-0" / "trials.csv")
    copy = tmp_path / "found"
    args = arguments(made, copy, SPACE, "--fold", "0")
    main([*args, "--trials", "1"])
    assert len(pd.read_csv(copy / "fold-0" / "trials.csv")) == 1
    main([*args, "--trials", "3"])
    # In two starts the trials are those of one.
    pd.testing.assert_frame_equal(pd.read_csv(copy / "fold-0" / "trials.csv").drop(columns="seconds"), undisturbed.drop(columns="seconds"))


@pytest.mark.parametrize("sampler", ["tpe", "grid"])
def test_an_interrupted_trial_is_gone_on_with(made: Path, tmp_path: Path, monkeypatch: Any, sampler: str) -> None:
    space = "model.dropout: {choices: [0.0, 0.3]}"
    args = arguments(made, tmp_path / "found", space, "--fold", "1", "--sampler", sampler, "--trials", "2")
    undisturbed = main(arguments(made, tmp_path / "whole" / "found", space, *args[-6:]))

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


def test_a_grid_is_every_combination_once(made: Path, tmp_path: Path) -> None:
    space = "model.dropout: {low: 0.0, high: 0.4, step: 0.2}\nmodel.mode: {choices: [full, linear_probe]}"
    args = arguments(made, tmp_path / "found", space, "--fold", "0", "--sampler", "grid", "--inner-runs", "1", "--trainer.max_epochs", "1")
    main([*args, "--trials", "2"])
    main(args)
    table = pd.read_csv(tmp_path / "found" / "fold-0" / "trials.csv")
    found = sorted(zip(table["model.dropout"].round(6), table["model.mode"], strict=True))
    assert found == [(dropout, mode) for dropout in (0.0, 0.2, 0.4) for mode in ("full", "linear_probe")]


def test_a_hopeless_trial_is_pruned(made: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """With some learning rates that do nothing among more that learn, those of them that come after the first trials end early."""
    monkeypatch.setattr(studies, "UNPRUNED", 2)
    space = "model.lr: {choices: [0.02, 0.025, 0.03, 0.035, 0.04, 1.0e-9, 1.0e-10]}"
    args = arguments(made, tmp_path / "found", space, "--fold", "0", "--sampler", "grid", "--prune-after", "1")
    main([*args, "--inner-runs", "1", "--trainer.max_epochs", "4"])
    table = pd.read_csv(tmp_path / "found" / "fold-0" / "trials.csv")
    pruned = table[table["state"] == "pruned"]
    assert 1e-9 in set(pruned["model.lr"]) and (pruned["epochs"] < 4).all() and pruned["value"].isna().all()
    assert table.loc[table["value"].idxmax(), "model.lr"] > 0.01
    for number in pruned["trial"]:
        (folder,) = (tmp_path / "found" / "fold-0" / "trials" / f"{number:04d}").iterdir()
        # Its held-out clips were not even predicted.
        assert not (folder / "predictions.csv").exists() and not (folder / "last.ckpt").exists()


def test_trials_that_do_not_work_are_left_out(made: Path, tmp_path: Path, capsys: Any) -> None:
    space = "model.encoder.init_args.channels: {choices: [[8], [4, 8, 8, 8, 8, 8, 8, 8]]}"
    main(arguments(made, tmp_path / "found", space, "--fold", "0", "--sampler", "grid", "--inner-runs", "1", "--seed_everything", "1"))
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
    assert words in sentence(capsys, arguments(made, tmp_path / "found", space), code)
    assert not (tmp_path / "found").exists()


def test_wrong_options_are_refused(made: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "found"
    assert "no end of values" in sentence(capsys, arguments(made, out, SPACE, "--sampler", "grid"))
    assert "--fold is 7, expected 0 to 2" in sentence(capsys, arguments(made, out, SPACE, "--fold", "7"))
    assert "--inner-runs is 9" in sentence(capsys, arguments(made, out, SPACE, "--inner-runs", "9"))
    assert "too little to divide again" in sentence(capsys, arguments(made, out, SPACE, "--inner-folds", "30"))
    # Before the first trial, which would be lost: nothing is written.
    said = sentence(capsys, arguments(made, tmp_path / "metric", SPACE, "--metric", "wer"))
    assert "--metric is 'wer', expected one of macro_auroc" in said and "Trial" not in said
    assert not (tmp_path / "metric").exists()


def test_other_settings_do_not_mix_in_one_study(made: Path, searched: Any, tmp_path: Path, capsys: Any) -> None:
    out, _ = searched
    assert "holds a run with search.inner_folds=2, not 3" in sentence(capsys, arguments(made, out, SPACE, "--inner-folds", "3"))
    url = f"sqlite:///{out / 'study.db'}"
    elsewhere = arguments(made, tmp_path / "found", SPACE, "--storage", url, "--weight", "0")
    del elsewhere[-2:]
    assert "another config, space or data" in sentence(capsys, [*elsewhere, "--model.weight_decay", "0.5"])


def test_workers_share_a_database(made: Path, searched: Any, tmp_path: Path) -> None:
    """A second worker with a folder of its own finds the trials done, and knows their best."""
    out, figures = searched
    url = f"sqlite:///{out / 'study.db'}"
    found = main(arguments(made, tmp_path / "found", SPACE, "--storage", url, "--trials", "3", "--fold", "2"))
    assert found["best"]["2"] == figures["best"]["2"] and not (tmp_path / "found" / "fold-2" / "trials").exists()


def test_what_another_worker_runs_is_not_begun_again(searched: Any, tmp_path: Path) -> None:
    shutil.copy(searched[0] / "study.db", tmp_path / "study.db")
    with studies.database(f"sqlite:///{tmp_path / 'study.db'}") as storage:
        study = optuna.load_study(study_name="found/fold-0", storage=storage)
        assert studies.due(study, 4) and not studies.due(study, 3)
        study.ask()
        assert not studies.due(study, 4) and studies.due(study, 5)


def test_a_locked_database_is_one_sentence(made: Path, searched: Any, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setattr(studies, "LOCK_WAIT_S", 0.2)
    path = tmp_path / "study.db"
    shutil.copy(searched[0] / "study.db", path)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    args = arguments(made, tmp_path / "found", SPACE, "--storage", f"sqlite:///{path}", "--trials", "4", "--fold", "0")
    try:
        assert f"The search database sqlite:///{path} is locked by another program" in sentence(capsys, args)
    finally:
        holder.close()
    assert threading.active_count() < 50
    assert sum(main(args)["trials"]["0"].values()) == 4


def test_a_database_that_cannot_be_used_is_one_sentence(made: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "found"
    assert "does not work (unable to open database file)" in sentence(
        capsys, arguments(made, out, SPACE, "--storage", f"sqlite:///{tmp_path}/none/study.db")
    )
    assert "no database URL" in sentence(capsys, arguments(made, out, SPACE, "--storage", "study.db"))
    secret = sentence(capsys, arguments(made, out, SPACE, "--storage", "postgresql+nodriver://me:secret@host/db"))
    assert "driver that is not installed" in secret and ":secret@" not in secret
