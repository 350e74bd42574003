"""Both choices of the epoch side by side: watching the held-out clips changes nothing, and what is written is what was predicted."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from common.files import write_csv
from common.manifest import read_manifest
from finetune.__main__ import main
from finetune.evaluation.epochs.best_epoch import HELD_OUT_EPOCHS, EpochChoice, compare_epochs, epoch_figures
from finetune.evaluation.epochs.epoch_intervals import EpochIntervals, epoch_intervals
from finetune.evaluation.epochs.epoch_probabilities import HELD_OUT_PROBABILITIES
from finetune.evaluation.intervals.bootstrap import patient_weights
from finetune.evaluation.out_of_fold import OutOfFold, check_out_of_fold, read_out_of_fold
from finetune.held_out_epochs import HeldOutEpochs
from finetune.tasks.multiclass import MultiClass
from finetune.tasks.multilabel import MultiLabel

WATCH = "--trainer.callbacks+=finetune.held_out_epochs.HeldOutEpochs"


def command(made: Path, folds: Path, out: Path, *more: str) -> list[str]:
    manifest = folds.with_name("manifest.csv")
    data = ["--data.manifest", str(manifest), "--data.folds", str(folds), "--data.store", str(made / "store")]
    return ["crossval", "-c", str(made / "tiny.yaml"), *data, "--trainer.max_epochs", "4", "--out", str(out), *more]


@pytest.fixture(scope="module")
def official(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folds of an official split of the made clips, with patient p8 on both sides."""
    folder = tmp_path_factory.mktemp("official")
    table = read_manifest(made / "manifest.csv")
    split = (table["patient"].str[1:].astype(int) >= 8).map({True: "test", False: "train"})
    split[table.index[table["patient"] == "p8"][0]] = "train"
    write_csv(folder / "manifest.csv", table.assign(split=split))
    main(["folds", "--manifest", str(folder / "manifest.csv"), "--out", str(folder / "folds.csv"), "--scheme", "official"])
    return folder / "folds.csv"


@pytest.fixture(scope="module")
def runs(made: Path, official: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same run, plain and watched."""
    folder = tmp_path_factory.mktemp("both")
    main(command(made, official, folder / "plain"))
    main(command(made, official, folder / "watched", WATCH))
    return folder / "plain", folder / "watched"


def test_watching_the_held_out_clips_leaves_weights_and_predictions_bit_identical(runs: tuple[Path, Path]) -> None:
    plain, watched = (run / "fold-0" for run in runs)
    assert not (plain / HELD_OUT_EPOCHS).exists() and (watched / HELD_OUT_EPOCHS).is_file()
    for name in ("best.ckpt", "last.ckpt"):
        one, other = (torch.load(folder / name, weights_only=True) for folder in (plain, watched))
        assert one["epoch"] == other["epoch"] and list(one["state_dict"]) == list(other["state_dict"])
        assert all(torch.equal(one["state_dict"][key], other["state_dict"][key]) for key in one["state_dict"])
    for name in ("predictions.csv", "validation.csv", "metrics.csv"):
        assert (plain / name).read_bytes() == (watched / name).read_bytes()


def test_the_row_of_the_chosen_epoch_is_what_its_predictions_give(runs: tuple[Path, Path]) -> None:
    folder = runs[1] / "fold-0"
    rows = pd.read_csv(folder / HELD_OUT_EPOCHS)
    assert list(rows["epoch"]) == list(range(len(rows))) and len(rows) >= 3
    chosen = rows.set_index("epoch").loc[json.loads((folder / "fold.json").read_text())["best_epoch"]]
    predictions = pd.read_csv(folder / "predictions.csv")
    known = predictions.dropna(subset=["target_wheeze", "target_crackle"])
    area = [roc_auc_score(known[f"target_{label}"], known[f"prob_{label}"]) for label in ("wheeze", "crackle")]
    assert chosen["macro_auroc"] == pytest.approx(np.mean(area))
    # At 0.5, as published work decides: normal is what neither label reaches.
    true = (known[[f"target_{name}" for name in ("wheeze", "crackle")]] == 1).to_numpy()
    decided = (known[["prob_wheeze", "prob_crackle"]] >= 0.5).to_numpy()
    exact, normal = (true == decided).all(axis=1), ~true.any(axis=1)
    assert chosen["icbhi_specificity"] == pytest.approx(exact[normal].mean())
    assert chosen["icbhi_sensitivity"] == pytest.approx(exact[~normal].mean())


def test_the_report_has_both_side_by_side_and_the_splits_defects_with_them(runs: tuple[Path, Path], capsys: Any) -> None:
    plain, watched = runs
    figures = main(["report", "--run", str(watched), "--resamples", "20", "--examples", "0"])
    assert "optimistic" in capsys.readouterr().err
    rows = pd.read_csv(watched / "fold-0" / HELD_OUT_EPOCHS).set_index("epoch")
    both = json.loads((watched / "report" / "metrics.json").read_text())["best_epoch"]
    assert both["macro_auroc"]["chosen_on_validation"] == pytest.approx(figures["macro_auroc"])
    assert both["macro_auroc"]["best_on_held_out"] == rows["macro_auroc"].max()
    best = rows["icbhi_score"].idxmax()
    assert both["icbhi_score"]["best_epochs"] == both["icbhi_sensitivity"]["best_epochs"] == [best]
    assert both["icbhi_sensitivity"]["best_on_held_out"] == rows["icbhi_sensitivity"][best]
    # The chosen epoch's network is the run's: its interval is that of the report, but for the draws.
    between = both["macro_auroc"]["intervals"]
    for name in ("chosen_on_validation", "best_on_held_out"):
        assert between[name][0] <= both["macro_auroc"][name] <= between[name][1]
    assert between["difference"][0] <= both["macro_auroc"]["difference"] <= between["difference"][1]
    page = Path(figures["report"]).read_text()
    section = page.partition("<h2>Best epoch on the held-out clips</h2>")[2].partition("</section>")[0]
    assert "Chosen on validation patients" in section and "optimistic, as published papers report" in section
    assert "1 patient is on both sides of the split (patient p8)" in section
    # A run that did not look says nothing of it.
    page = Path(main(["report", "--run", str(plain), "--resamples", "20", "--examples", "0"])["report"]).read_text()
    assert "Best epoch on the held-out clips" not in page
    assert json.loads((plain / "report" / "metrics.json").read_text())["best_epoch"] == {}


@pytest.mark.parametrize("order", ["watch first", "average first"])
def test_averaged_weights_are_those_that_are_watched(made: Path, official: Path, tmp_path: Path, order: str) -> None:
    average = ["--trainer.callbacks+=finetune.averaging.Ema", "--trainer.callbacks.init_args.decay=0.8"]
    callbacks = [WATCH, *average] if order == "watch first" else [*average, WATCH]
    main(command(made, official, tmp_path / "run", *callbacks))
    folder = tmp_path / "run" / "fold-0"
    row = pd.read_csv(folder / HELD_OUT_EPOCHS).set_index("epoch").loc[json.loads((folder / "fold.json").read_text())["best_epoch"]]
    predictions = read_out_of_fold(folder / "predictions.csv", MultiLabel().labels)
    expected = {name: np.nan if value is None else value for name, value in epoch_figures(predictions, MultiLabel()).items()}
    assert row.to_dict() == pytest.approx(expected, nan_ok=True)


def test_a_run_that_goes_on_has_every_epoch_once(made: Path, official: Path, runs: tuple[Path, Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    judge = HeldOutEpochs.on_validation_batch_end

    def killed(self: Any, trainer: Any, *rest: Any, **named: Any) -> None:
        judge(self, trainer, *rest, **named)
        # After the row is written and before the epoch's checkpoint.
        if trainer.current_epoch == 1:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched, pytest.raises((KeyboardInterrupt, SystemExit)):
        patched.setattr(HeldOutEpochs, "on_validation_batch_end", killed)
        main(command(made, official, run, WATCH))
    assert len(pd.read_csv(run / "fold-0" / HELD_OUT_EPOCHS)) == 2
    main(command(made, official, run, WATCH))
    assert (run / "fold-0" / HELD_OUT_EPOCHS).read_bytes() == (runs[1] / "fold-0" / HELD_OUT_EPOCHS).read_bytes()
    with np.load(run / "fold-0" / HELD_OUT_PROBABILITIES) as one, np.load(runs[1] / "fold-0" / HELD_OUT_PROBABILITIES) as other:
        assert list(one["epoch"]) == list(range(len(other["epoch"])))
        assert all(np.array_equal(one[name], other[name]) for name in ("clip_id", "epoch", "probabilities"))


def test_a_hand_worked_choice_of_two_folds() -> None:
    one = pd.DataFrame({"epoch": [0, 1, 2], "macro_auroc": [0.6, 0.7, 0.7]})
    other = pd.DataFrame({"epoch": [0, 1, 2], "macro_auroc": [0.9, 0.5, 0.8]})
    scores = pd.DataFrame({"icbhi_score": [0.4, 0.6, 0.5], "icbhi_sensitivity": [0.7, 0.3, 0.4], "icbhi_specificity": [0.1, 0.9, 0.6]})
    found = compare_epochs({0: one.join(scores), 1: other.join(scores)}, {0: 0, 1: 2}, MultiLabel())
    auroc, sensitivity = found["macro_auroc"], found["icbhi_sensitivity"]
    # Of fold 0 the first of two equal epochs; the mean over folds of each fold's own best.
    assert auroc.best_epochs == (1, 0) and auroc.best == pytest.approx((0.7 + 0.9) / 2)
    assert auroc.chosen_epochs == (0, 2) and auroc.chosen == pytest.approx((0.6 + 0.8) / 2)
    # Not its own maximum, 0.7, which no paper could report beside the best score.
    assert sensitivity.best_epochs == (1, 1) and sensitivity.best == pytest.approx(0.3)
    # A fold without the figure leaves no mean that would be of the others alone.
    found = compare_epochs({0: one.join(scores), 1: other.assign(macro_auroc=np.nan).join(scores)}, {0: 0, 1: 2}, MultiLabel())
    assert found["macro_auroc"].best is None and found["icbhi_score"].best == pytest.approx(0.6)


def made_fold(fold: int) -> dict[int, OutOfFold]:
    """Two epochs of a fold with five patients, two clips each, for one label with figures."""
    generator = np.random.default_rng(fold)
    table = pd.DataFrame({"clip_id": [f"c{fold}{i}" for i in range(10)], "recording": [f"r{fold}{i}" for i in range(10)]})
    table = table.assign(patient=[f"p{fold}{i // 2}" for i in range(10)], device="", site="", quality="", fold=fold)
    truth = np.tile([1, 0], 5)
    for label in ("wheeze", "crackle"):
        table[f"target_{label}"], table[f"prob_{label}"] = truth, 0.5
    one = check_out_of_fold(table, ("wheeze", "crackle"))
    return {epoch: replace(one, probabilities=generator.random((10, 2))) for epoch in (0, 1)}


def test_intervals_are_those_of_whole_patients_drawn_alike_for_both_readings() -> None:
    task, folds = MultiLabel(labels=("wheeze", "crackle"), exclusive=None), {fold: made_fold(fold) for fold in (0, 1)}
    choices = {"macro_auroc": EpochChoice("Macro AUROC", 0.5, 0.6, chosen_epochs=(0, 1), best_epochs=(1, 1))}
    found = epoch_intervals(choices, folds, task, resamples=60, seed=3)["macro_auroc"]
    means: dict[str, list[float]] = {"chosen": [], "best": []}
    weights = {fold: np.concatenate(list(patient_weights(folds[fold][0].group, 60, 3 + 1 + fold))) for fold in (0, 1)}
    for draw in range(60):
        for name, epochs in (("chosen", (0, 1)), ("best", (1, 1))):
            areas = []
            for fold, epoch in enumerate(epochs):
                rows = np.repeat(np.arange(10), weights[fold][draw].astype(int))
                of_epoch = folds[fold][epoch]
                areas += [roc_auc_score(of_epoch.targets[rows, column], of_epoch.probabilities[rows, column]) for column in (0, 1)]
            means[name].append(float(np.mean(areas)))
    chosen, best = np.array(means["chosen"]), np.array(means["best"])
    for interval, values in ((found.chosen, chosen), (found.best, best), (found.difference, best - chosen)):
        assert interval == pytest.approx(tuple(np.percentile(values, [2.5, 97.5])))
    # Fold 1 has one epoch by both readings: had other patients been drawn for each, it would widen the difference.
    missing = {"macro_auroc": replace(choices["macro_auroc"], best=None)}
    assert epoch_intervals(missing, folds, task, 60, 3)["macro_auroc"] == EpochIntervals(None, None, None)


def test_the_challenge_score_of_exclusive_classes_is_compared() -> None:
    task = MultiClass({"a": ["a"], "b": ["b"]}, column="x", normal="a", scores=("icbhi",))
    names = ("macro_auroc", "icbhi_score", "icbhi_sensitivity", "icbhi_specificity", "uar", "accuracy", "macro_f1_all")
    table = pd.DataFrame({"epoch": [0, 1], **{name: [0.2, 0.3] for name in names}})
    assert {name: choice.best for name, choice in compare_epochs({0: table}, {0: 0}, task).items()} == dict.fromkeys(names, 0.3)
