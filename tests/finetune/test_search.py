"""What a search through the command line finds and writes: nested, the best of each fold, and its choice taken by ``crossval``."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from refusals import sentence

from common.manifest import read_manifest
from finetune.__main__ import main
from tests.docs.pages import ROOT, names, tables


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
