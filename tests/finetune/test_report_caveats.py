"""The report's warnings: loud where the figures flatter or lack something, silent where they do not."""

from pathlib import Path

import pytest
from made_run import LABELS, make_folds, make_oof, write_run
from reported import Page, page_of

from finetune.evaluation.out_of_fold import read_out_of_fold
from finetune.evaluation.summary import evaluate_predictions
from finetune.report.caveats import caveats_of
from finetune.report.facts import provenance_facts
from finetune.run_folder import read_run_folder


def caveats(folder: Path) -> list[str]:
    """The titles of the page's warnings, without drawing the page."""
    read = read_run_folder(folder)
    evaluation = evaluate_predictions(read_out_of_fold(folder / "oof.csv", LABELS), read.task, resamples=2)
    return [f"{caveat.title} {caveat.text}" for caveat in caveats_of(read, evaluation)]


def test_no_patient_column_and_a_transductive_encoder_are_said_loudly(troubled_run):
    page = page_of(troubled_run)
    assert '<div class="caveat" role="note"><h2>No patient column: folds are grouped by recording</h2>' in page
    assert '<div class="caveat" role="note"><h2>Transductive: the encoder was pretrained on held-out patients</h2>' in page
    assert "resamples of 240 recordings" in Page(page).text
    assert "Patients no patient column" in Page(page).text


@pytest.mark.parametrize(
    "source, words",
    [
        ("shared", "one for all folds, which heard none of the held-out patients"),
        ("per_fold", "one per fold, pretrained without that fold's held-out patients"),
    ],
)
def test_an_encoder_that_heard_no_held_out_patient_is_said_without_alarm(tmp_path, source, words):
    folder = write_run(tmp_path / "run", make_oof(), encoder={"source": source, "transductive": False, "file": "encoder.pt"})
    facts = provenance_facts(read_run_folder(folder))
    assert facts["Pretrained encoder"] == words
    assert facts["Encoder file"] == "encoder.pt"
    assert caveats(folder) == []


def test_accepting_overlap_without_an_encoder_is_no_alarm(tmp_path):
    encoder = {"source": "none", "transductive": True, "file": None}
    assert caveats(write_run(tmp_path / "run", make_oof(), encoder=encoder)) == []


def test_a_leak_between_roles_is_said_loudly(tmp_path):
    folder = write_run(tmp_path / "run", make_oof())
    folds = make_folds(make_oof())
    folds.loc[0, "role_0"] = "train"
    folds.to_csv(folder / "folds.csv", index=False)
    [leak] = caveats(folder)
    assert leak.startswith("Leak: fold 0 trained on its held-out groups 1 held-out patients")
    assert "patient:p000" in leak


def test_an_unfinished_run_is_said_loudly(tmp_path):
    folder = write_run(tmp_path / "run", make_oof())
    make_oof().query("fold != 2").to_csv(folder / "oof.csv", index=False)
    [incomplete] = caveats(folder)
    assert "60 of 240 clips have no prediction oof.csv covers folds 0, 1, 3; folds.csv plans 4." in incomplete


def test_predictions_of_other_folds_are_said_loudly(tmp_path):
    folder = write_run(tmp_path / "run", make_oof())
    make_folds(make_oof(folds=3)).to_csv(folder / "folds.csv", index=False)
    [mismatch] = caveats(folder)
    assert "predictions do not belong to these folds" in mismatch
