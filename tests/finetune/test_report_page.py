"""The report's page: it stands alone, and says what a reader must know."""

import json

import numpy as np
import pandas as pd
import pytest
from made_run import make_oof, write_run
from reported import Page, page_of, report

from finetune.tasks.multiclass import MultiClass


@pytest.fixture
def page(sound_run) -> str:
    return page_of(sound_run)


def test_a_class_that_one_fold_lacks_is_said_in_one_sentence(tmp_path, capsys):
    """Enough patients for every fold have it, but none of one fold's: empty there, and only there."""
    oof = make_oof(folds=3)
    classes = {"Normal": "normal", "Wheeze": "wheeze", "Crackle": "crackle"}
    # One class per clip; that of crackles is in folds 0 and 1 alone.
    number = np.where(oof["fold"] == 2, oof.index % 2, oof.index % 3)
    for column, (name, old) in enumerate(classes.items()):
        oof = oof.rename(columns={f"target_{old}": f"target_{name}", f"prob_{old}": f"prob_{name}"})
        oof[f"target_{name}"], oof[f"prob_{name}"] = (number == column).astype(int), np.where(number == column, 0.5, 0.25)
    task = MultiClass({name: [old] for name, old in classes.items()}, column="x", normal="Normal", scores=("icbhi",))
    folder = write_run(tmp_path / "run", oof, task=task.describe())
    report(folder, "--examples", "0")
    empty_there = "its metrics and the means over classes are empty in this fold and not in the mean over folds"
    said = f"Fold 2: Crackle has no positive clip; {empty_there}."
    notes = json.loads((folder / "report" / "metrics.json").read_text())["notes"]
    assert [note for note in notes if "Crackle" in note] == [said]
    assert " ".join(capsys.readouterr().err.split()).count(said) == 1 and Page(page_of(folder)).text.count(said) == 1
    rows = pd.read_csv(folder / "report" / "per_fold.csv").set_index("fold")
    empty = ["auroc_Crackle", "recall_Crackle", "macro_auroc", "uar", "macro_f1_all"]
    assert rows.loc["2", empty].isna().all() and rows.loc[["0", "1", "mean", "pooled"], empty].notna().all(axis=None)
    # What does not average over classes is there.
    assert rows.loc["2", ["auroc_Wheeze", "icbhi_score", "accuracy"]].notna().all()


def test_page_is_well_formed_and_stands_alone(page):
    parsed = Page(page)
    assert parsed.open == []
    assert parsed.sources, "there are pictures"
    assert all(source.startswith("data:image/svg+xml;base64,") for source in parsed.sources)
    assert all(parsed.alts), "every picture says in words what it shows"
    assert "@import" not in page and "url(" not in page and "<script" not in page


def test_page_says_what_a_reader_must_know(page, sound_run):
    text = Page(page).text
    metrics = json.loads((sound_run / "report" / "metrics.json").read_text())
    assert f"{metrics['pooled']['macro']['auroc']:.3f} pooled out of fold" in text
    assert f"{metrics['mean']['macro_auroc']:.3f} ± {metrics['sd']['macro_auroc']:.3f}" in text
    assert "single folds' models, not of the exported model" in text
    assert "the threshold of normal does not enter" in text
    assert "Commit 0123abc" in text
    assert "Seed 7" in text
    assert "Data hash " + "d" * 64 in text
    assert "torch 2.11.0" in text
    assert "no pretrained file was given" in text
    assert any("wheeze + crackle" in alt for alt in Page(page).alts)
    assert 'class="caveat"' not in page, "a sound run has no warning"


def test_a_label_without_positives_leaves_dashes_and_is_named(troubled_run):
    metrics = json.loads((troubled_run / "report" / "metrics.json").read_text())
    assert metrics["pooled"]["macro"]["auroc"] is None
    assert metrics["pooled"]["labels"]["wheeze"]["auroc"] > 0.5
    text = Page(page_of(troubled_run)).text
    assert "Macro AUROC over wheeze and crackle is not defined" in text
    assert text.count("crackle has no positive clip") == 1, "said once, not once per fold"
    assert "Macro AUROC, pooled -" in text


def test_names_are_escaped_and_gaps_in_the_record_said(troubled_run):
    assert "&lt;b&gt;&amp;.csv" in page_of(troubled_run)
    assert "Commit not recorded" in Page(page_of(troubled_run)).text
