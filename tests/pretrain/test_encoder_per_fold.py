"""``python -m pretrain folds``: an encoder per fold without its held-out patients, going on where it was cut off."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from common.encoder_file import load_encoder
from pretrain.__main__ import main


def arguments(made: Path, out: Path, *further: str) -> list[str]:
    options = ["-c", str(made / "tiny.yaml"), "--data.manifest", str(made / "manifest.csv"), "--trainer.max_epochs", "1"]
    return ["folds", "--folds", str(made / "folds.csv"), "--out", str(out), *options, *further]


def test_each_fold_has_an_encoder_that_saw_none_of_its_patients(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pretrain import folds

    fits: list[list[str]] = []
    whole = folds.fit

    def cut_off(args: list[str]) -> Any:
        if len(fits) == 1:
            raise KeyboardInterrupt
        fits.append(args)
        return whole(args)

    with monkeypatch.context() as patch:
        patch.setattr(folds, "fit", cut_off)
        with pytest.raises(SystemExit) as exit:
            main(arguments(made, tmp_path / "encoders"))
        assert exit.value.code == 130
    first = tmp_path / "encoders" / "fold-0" / "encoder.pt"
    written = first.stat().st_mtime_ns

    figures = main(arguments(made, tmp_path / "encoders"))
    assert first.stat().st_mtime_ns == written
    assert figures["folds"] == 2 and len(figures["runs"]) == 2
    table = pd.read_csv(made / "folds.csv")
    for fold in (0, 1):
        file = load_encoder(tmp_path / "encoders" / f"fold-{fold}" / "encoder.pt")
        held_out = table[table["fold"] == fold]
        assert not set(file.patients) & set(held_out["patient"]) and not set(file.recordings) & set(held_out["recording"])
        assert set(file.patients) | set(held_out["patient"]) == set(table["patient"])


@pytest.mark.parametrize(
    ("further", "code", "message"),
    [
        (["--data.exclude_fold=1"], 1, "--data.exclude_fold is what 'pretrain folds' sets for each fold"),
        (["--folds", "none.csv"], 1, "No table at none.csv"),
        (["--model.temprature", "1"], 2, "--model.temprature"),
        (["--data.manifest", "none.csv"], 1, "No table at none.csv"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_nothing(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], further: list[str], code: int, message: str
) -> None:
    with pytest.raises(SystemExit) as exit:
        main(arguments(made, tmp_path / "encoders", *further))
    assert exit.value.code == code
    assert message in capsys.readouterr().err.strip().splitlines()[-1]
    assert not (tmp_path / "encoders").exists()


def test_help_says_what_may_be_seen(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main(["folds", "--help"])
    assert exit.value.code == 0
    assert "validation patients of a fold may be seen" in capsys.readouterr().out
