"""The database of a search: shared by workers, locked, of another search, or not to be used."""

import shutil
import sqlite3
import threading
from pathlib import Path
from typing import Any

import optuna
from made_search import SPACE, search_arguments
from refusals import sentence

from finetune.__main__ import main
from finetune.search import study as studies


def test_other_settings_do_not_mix_in_one_study(made: Path, searched: Any, tmp_path: Path, capsys: Any) -> None:
    out, _ = searched
    assert "holds a run with search.inner_folds=2, not 3" in sentence(capsys, search_arguments(made, out, SPACE, "--inner-folds", "3"))
    url = f"sqlite:///{out / 'study.db'}"
    elsewhere = search_arguments(made, tmp_path / "found", SPACE, "--storage", url, "--weight", "0")
    del elsewhere[-2:]
    assert "another config, space or data" in sentence(capsys, [*elsewhere, "--model.weight_decay", "0.5"])


def test_workers_share_a_database(made: Path, searched: Any, tmp_path: Path) -> None:
    """A second worker with a folder of its own finds the trials done, and knows their best."""
    out, figures = searched
    url = f"sqlite:///{out / 'study.db'}"
    found = main(search_arguments(made, tmp_path / "found", SPACE, "--storage", url, "--trials", "3", "--fold", "2"))
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
    args = search_arguments(made, tmp_path / "found", SPACE, "--storage", f"sqlite:///{path}", "--trials", "4", "--fold", "0")
    try:
        assert f"The search database sqlite:///{path} is locked by another program" in sentence(capsys, args)
    finally:
        holder.close()
    assert threading.active_count() < 50
    assert sum(main(args)["trials"]["0"].values()) == 4


def test_a_database_that_cannot_be_used_is_one_sentence(made: Path, tmp_path: Path, capsys: Any) -> None:
    out, space = tmp_path / "found", "model.dropout: {low: 0.0, high: 0.4}"
    assert "does not work (unable to open database file)" in sentence(
        capsys, search_arguments(made, out, space, "--storage", f"sqlite:///{tmp_path}/none/study.db")
    )
    assert "no database URL" in sentence(capsys, search_arguments(made, out, space, "--storage", "study.db"))
    secret = sentence(capsys, search_arguments(made, out, space, "--storage", "postgresql+nodriver://me:secret@host/db"))
    assert "driver that is not installed" in secret and ":secret@" not in secret
