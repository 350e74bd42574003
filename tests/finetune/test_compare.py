"""Runs compared on the same patients: what is shared cancels, seeds are averaged, and other clips are refused."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from made_run import LABELS, make_oof, write_run

from finetune.__main__ import main
from finetune.compare.paired import two_sided_share
from finetune.evaluation.metrics.label_metrics import auroc


def shifted(seed: int, skill: float = 0.0):
    """The predictions of `make_oof` by another model: noise of its own, and more or less skill."""
    oof = make_oof()
    generator = np.random.default_rng(seed)
    for label in LABELS:
        p = oof[f"prob_{label}"]
        logits = np.log(p / (1 - p)) + skill * (2 * oof[f"target_{label}"] - 1) + 0.3 * generator.normal(size=len(oof))
        oof[f"prob_{label}"] = 1 / (1 + np.exp(-logits))
    return oof


def compare(tmp_path: Path, *runs: Path) -> dict:
    return main(["compare", "--runs", json.dumps([str(run) for run in runs]), "--out", str(tmp_path / "out"), "--resamples", "300"])


def macro_auroc(oof: pd.DataFrame) -> float:
    return float(np.mean([auroc(oof[f"target_{x}"].to_numpy() == 1, oof[f"prob_{x}"].to_numpy()) for x in LABELS[1:]]))


def test_a_better_run_is_told_from_an_equal_one(tmp_path):
    one = write_run(tmp_path / "one", make_oof())
    better = write_run(tmp_path / "better", shifted(1, 0.8).sample(frac=1, random_state=0))
    equal = write_run(tmp_path / "equal", shifted(2))
    found = compare(tmp_path, one, better, equal)
    gain, none = (found["differences"][name]["macro_auroc"] for name in ("better", "equal"))
    assert gain["interval"][0] > 0 and gain["p"] < 0.05
    assert none["interval"][0] < 0 < none["interval"][1] or abs(none["difference"]) < 0.02
    areas = [macro_auroc(of) for of in (make_oof(), shifted(1, 0.8))]
    assert gain["difference"] == pytest.approx(areas[1] - areas[0])
    written = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert written["over"] == "patients" and written["groups"] == 40 and written["same_folds"]
    assert (tmp_path / "out" / "comparison.csv").read_text().startswith("figure,reference,run,")


def test_a_run_and_its_copy_do_not_differ(tmp_path):
    found = compare(tmp_path, write_run(tmp_path / "one", make_oof()), write_run(tmp_path / "copy", make_oof()))
    difference = found["differences"]["copy"]["macro_auroc"]
    assert difference == {"difference": 0, "interval": (0, 0), "p": 1}


def test_seeds_of_one_setting_are_averaged_and_their_deviation_given(tmp_path):
    runs = []
    for name, seed, lr in [("one", 0, 0.1), ("two-a", 0, 0.2), ("two-b", 1, 0.2)]:
        folder = write_run(tmp_path / name, shifted(len(runs)), seed=seed)
        (folder / "config.yaml").write_text(yaml.safe_dump({"seed_everything": seed, "out": str(folder), "model": {"lr": lr}}))
        runs.append(folder)
    found = compare(tmp_path, *runs)
    assert {name: of["seeds"] for name, of in found["settings"].items()} == {"one": [0], "two-a": [0, 1]}
    written = json.loads((tmp_path / "out" / "comparison.json").read_text())
    areas = [macro_auroc(pd.read_csv(run / "oof.csv")) for run in runs[1:]]
    assert written["settings"][1]["figures"]["macro_auroc"] == pytest.approx(np.mean(areas))
    assert written["settings"][1]["sd_over_seeds"]["macro_auroc"] == pytest.approx(np.std(areas, ddof=1))
    assert written["settings"][0]["sd_over_seeds"]["macro_auroc"] is None


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda oof: oof.iloc[1:], "predicted other clips (1 are in one only, 'clip0000'"),
        (lambda oof: oof.assign(target_wheeze=1 - oof["target_wheeze"]), "have another target for 240 clips"),
        (lambda oof: oof.assign(patient="p" + oof["recording"]), "have another patient for 240 clips"),
    ],
)
def test_runs_on_other_data_are_one_sentence(tmp_path, capsys, spoil, words):
    with pytest.raises(SystemExit):
        compare(tmp_path, write_run(tmp_path / "one", make_oof()), write_run(tmp_path / "two", spoil(make_oof())))
    error = capsys.readouterr().err.strip()
    assert words in error and len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_one_run_alone_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        compare(tmp_path, write_run(tmp_path / "one", make_oof()))
    assert "is one run" in capsys.readouterr().err


def test_two_sided_share_by_hand():
    assert two_sided_share(np.array([1.0, 2, 3, -1])) == pytest.approx(2 * 2 / 5)
    assert two_sided_share(np.ones(999)) == pytest.approx(0.002)
    assert two_sided_share(np.zeros(10)) == 1
