"""The cost of a recipe: every command is counted, and the line over the numbers of clips is the one that was drawn."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks import cost
from benchmarks.commands import call
from benchmarks.latency import own_process
from benchmarks.latency.own_process import COMMAND, Ended, ended
from benchmarks.lungs.growth import growth, line
from common.errors import UserError


def test_a_line_is_found_again_with_how_far_the_measurements_are_from_it() -> None:
    found = line([500, 1000, 2000], [15.0, 25.0, 45.0])
    assert found is not None and found.per_clip == pytest.approx(0.02) and found.start == pytest.approx(5)
    assert found.residual == pytest.approx(0, abs=1e-9) and found.at(50_000) == pytest.approx(1005)
    bent = line([0, 1, 2], [0.0, 3.0, 0.0])
    # The mean is the best line: 1, missed by 2 in the middle.
    assert bent is not None and (bent.per_clip, bent.start, bent.residual) == pytest.approx((0, 1, 2))
    assert line([500, 1000, 1000], [1.0, 2.0, 3.0]) is None


def test_growth_names_what_was_not_run() -> None:
    rows = [{"clips": clips, "processor_s": 6 + 0.06 * clips, "peak_mb": 400 + 0.05 * clips} for clips in (100, 200, 400)]
    found = growth(rows, paper=10_000)
    assert found is not None and found["processor_s_per_1000_clips"] == 60 and found["peak_mb_at_0"] == 400
    assert found["on_paper"] == {"clips": 10_000, "processor_minutes": 10.1, "peak_mb": 900}
    assert growth(rows[:2], paper=10_000) is None


def test_every_command_of_a_recipe_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    commands: list[tuple[str, int]] = []

    def here(script: str, package: str, *words: object) -> Ended:
        """In this process, whose libraries are loaded; each command takes twice as many seconds of two cores as there were before it."""
        assert script == COMMAND
        call(package, *words)
        commands.append((str(words[0]), len(commands)))
        return Ended(2.0 ** commands[-1][1], 2 * 2.0 ** commands[-1][1], 100.0 + commands[-1][1])

    monkeypatch.setattr(own_process, "ended", here)
    cost.main(["--sizes", "80", "--seconds", "0.5", "--folder", str(tmp_path)])
    figures: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [name for name, _ in commands] == ["store", "baseline", "baseline", "baseline", "ensemble"]
    floor, strongest = figures["rows"]
    assert (floor["recipe"], floor["processor_s"], floor["peak_mb"]) == ("floor", 2 * (1 + 2), 101)
    assert (strongest["recipe"], strongest["processor_s"], strongest["peak_mb"]) == ("strongest", 2 * (1 + 2 + 4 + 8 + 16), 104)
    assert strongest["clips_per_s"] == pytest.approx(80 / 31, abs=0.01) and figures["growth"] == {"floor": None, "strongest": None}
    assert figures["recordings"] == "made" and not list(tmp_path.iterdir()), "the temporary folder is removed"


def test_a_part_is_whole_patients_in_a_random_order(tmp_path: Path) -> None:
    call("common", "synthetic", "--out", tmp_path / "made", "--patients", 6, "--clips-per-patient", 3, "--seconds", 0.5)
    call("common", "manifest", "takehome", "--root", tmp_path / "made", "--out", tmp_path / "manifest.csv")
    part, more = cost._part(tmp_path / "manifest.csv", 7), cost._part(tmp_path / "manifest.csv", 100)
    assert len(part) == 7 and len(more) == 18 and list(more["clip_id"][:7]) == list(part["clip_id"])
    order = list(pd.unique(more["patient"]))
    assert list(more["patient"]) == list(np.repeat(order, 3)) and order != sorted(order)
    with pytest.raises(UserError, match="at least 5 clips"):
        cost._part(tmp_path / "manifest.csv", 4)


def test_a_process_of_its_own_says_what_it_took(tmp_path: Path) -> None:
    made = ("common", "synthetic", "--out", tmp_path / "made", "--patients", 2, "--clips-per-patient", 1, "--seconds", 0.5)
    found = ended(COMMAND, *made)
    assert (tmp_path / "made" / "train.csv").is_file() and found.seconds > 0 and found.processor_s > 0 and found.peak_mb > 20
    with pytest.raises(UserError, match="common did not answer"):
        ended(COMMAND, "common", "synthetic", "--out", tmp_path / "made", "--patients", 0)
