"""A broken run folder or a wrong option is one sentence, and leaves no report."""

from pathlib import Path

import pytest
from made_run import make_oof, write_run
from reported import report

from finetune.__main__ import main


def drop_column(folder: Path) -> None:
    make_oof().drop(columns="prob_wheeze").to_csv(folder / "oof.csv", index=False)


def all_poor(folder: Path) -> None:
    make_oof().assign(quality="poor").to_csv(folder / "oof.csv", index=False)


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda folder: (folder / "oof.csv").unlink(), "No out-of-fold predictions at"),
        (lambda folder: (folder / "run.json").unlink(), "has no run.json"),
        (lambda folder: (folder / "run.json").write_text("{"), "is not JSON"),
        (lambda folder: (folder / "run.json").write_text("[]"), "expected a JSON object"),
        (lambda folder: (folder / "run.json").write_text('{"format": "other/1"}'), "has format 'other/1'"),
        (lambda folder: (folder / "folds.csv").unlink(), "No table at"),
        (lambda folder: (folder / "folds.csv").write_text("clip_id\na\n"), "has no column 'recording'"),
        (drop_column, "has no column 'prob_wheeze'"),
        (all_poor, "has no annotated clip"),
    ],
)
def test_a_broken_run_folder_is_one_sentence_and_leaves_nothing(tmp_path, capsys, spoil, words):
    folder = write_run(tmp_path / "run", make_oof())
    spoil(folder)
    with pytest.raises(SystemExit) as stopped:
        report(folder)
    assert stopped.value.code == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ") and words in error and len(error.splitlines()) == 1
    assert not (folder / "report").exists()


def test_a_missing_run_and_a_wrong_option_are_one_sentence(tmp_path, capsys):
    for args, code, words in [
        (["--run", str(tmp_path / "none")], 1, "No run at"),
        (["--run", str(tmp_path), "--resamples", "0"], 1, "resamples is 0"),
        (["--run", str(tmp_path), "--thresholds", "best"], 2, "best"),
        (["--rum", str(tmp_path)], 2, "rum"),
    ]:
        with pytest.raises(SystemExit) as stopped:
            main(["report", *args])
        assert stopped.value.code == code
        assert words in capsys.readouterr().err
