"""A run folder belongs to one config; what may differ between two starts is only where a run is shown and what it runs on."""

from pathlib import Path
from typing import Any

import pytest

from common.errors import UserError
from common.training.run_folder import CONFIG, FINISHED, LAST, abandon, claim, finished


def config(**model: Any) -> dict[str, Any]:
    return {"model": {"lr": 0.1, "steps": [1, 2], **model}, "out": "runs/a", "tracking": {"wandb": "auto"}, "trainer": {"devices": "auto"}}


def test_a_folder_is_claimed_once(tmp_path: Path) -> None:
    assert claim(tmp_path / "run", config()) is True
    assert claim(tmp_path / "run", config()) is False
    assert finished(tmp_path / "run") is None
    (tmp_path / "run" / FINISHED).write_text('{"loss": 1}')
    assert finished(tmp_path / "run") == {"loss": 1}


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"lr": 0.2}, r"model\.lr=0\.1, not 0\.2"),
        ({"steps": [1]}, r"model\.steps=\[1, 2\], not \[1\]"),
        ({"dropout": 0.5}, r"model\.dropout=None, not 0\.5"),
        ({"lr": {"deep": 1}}, r"model\.lr"),
    ],
)
def test_another_config_is_refused_by_the_name_of_a_key(tmp_path: Path, other: dict[str, Any], message: str) -> None:
    claim(tmp_path / "run", config())
    before = (tmp_path / "run" / CONFIG).read_text()
    with pytest.raises(UserError, match=message):
        claim(tmp_path / "run", config(**other))
    assert (tmp_path / "run" / CONFIG).read_text() == before


def test_where_a_run_is_shown_and_what_it_runs_on_may_differ(tmp_path: Path) -> None:
    claim(tmp_path / "run", config())
    other = {**config(), "out": "elsewhere", "tracking": {"wandb": "disabled"}, "trainer": {"devices": 1, "enable_progress_bar": False}}
    assert claim(tmp_path / "run", other) is False


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for path in (tmp_path, tmp_path / "thesis.txt"):
        with pytest.raises(UserError, match="choose another --out"):
            claim(path, config())
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_only_a_run_that_learned_nothing_is_removed(tmp_path: Path) -> None:
    claim(tmp_path / "new", config())
    abandon(tmp_path / "new")
    assert not (tmp_path / "new").exists()
    claim(tmp_path / "old", config())
    (tmp_path / "old" / LAST).write_text("")
    abandon(tmp_path / "old")
    assert (tmp_path / "old" / CONFIG).is_file()
