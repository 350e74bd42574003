"""Ensembles through the command line: right averages, fitted on other folds only, folders that the other commands take."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_run import LABELS, make_oof, write_run
from refusals import sentence
from scipy.optimize import minimize

from finetune.__main__ import main
from finetune.ensemble.combine import fit_weights

PROBABILITIES = [f"prob_{label}" for label in LABELS]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three runs on the same clips and folds: one good, one fair, one that guesses."""
    folder = tmp_path_factory.mktemp("members")
    truth = make_oof(seed=0)
    made = []
    for name, skill, seed in (("good", 1.2, 1), ("fair", 0.8, 2), ("guess", 0.0, 3)):
        generator = np.random.default_rng(seed)
        oof = truth.copy()
        for label in LABELS:
            logits = skill * (2 * truth[f"target_{label}"] - 1) + generator.normal(size=len(truth)) * 1.5
            oof[f"prob_{label}"] = 1 / (1 + np.exp(-logits))
        # The rows of a run may stand in another order.
        oof = oof.iloc[np.random.default_rng(seed).permutation(len(oof))] if name == "fair" else oof
        made.append(write_run(folder / name, oof, folds_hash="f" * 64, seed=seed))
    return made


def combined(runs: list[Path], out: Path, *more: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    figures = main(["ensemble", "--runs", json.dumps([str(run) for run in runs]), "--out", str(out), *more])
    return pd.read_csv(out / "oof.csv").set_index("clip_id"), figures


def predictions(run: Path) -> pd.DataFrame:
    return pd.read_csv(run / "oof.csv").set_index("clip_id")


def test_the_mean_is_the_mean(runs: list[Path], tmp_path: Path) -> None:
    table, _ = combined(runs, tmp_path / "mean")
    members = [predictions(run).loc[table.index, PROBABILITIES] for run in runs]
    np.testing.assert_allclose(table[PROBABILITIES], np.mean(members, axis=0), rtol=1e-12)
    table, _ = combined(runs, tmp_path / "logits", "--rule", "logit_mean")
    logits = [np.log(member / (1 - member)) for member in members]
    np.testing.assert_allclose(table[PROBABILITIES], 1 / (1 + np.exp(-np.mean(logits, axis=0))), rtol=1e-9)
    table, _ = combined(runs, tmp_path / "given", "--rule", "weighted", "--weights", "[3, 1, 0]")
    np.testing.assert_allclose(table[PROBABILITIES], 0.75 * members[0] + 0.25 * members[1], rtol=1e-12)
    first = predictions(runs[0]).loc[table.index]
    for name in ("recording", "patient", "fold", *(f"target_{label}" for label in LABELS)):
        assert list(table[name]) == list(first[name])


def test_fitted_weights_have_the_least_log_loss() -> None:
    """Against a general optimiser on the same loss."""
    generator = np.random.default_rng(0)
    targets = (generator.random((300, 2)) < 0.4).astype(float)
    targets[:20, 1] = np.nan
    truth = np.nan_to_num(targets)
    probabilities = np.stack([1 / (1 + np.exp(-(s * (2 * truth - 1) + generator.normal(size=truth.shape)))) for s in (0.8, 0.4, 0.0)])
    known = ~np.isnan(targets)

    def loss(free: np.ndarray) -> float:
        weights = np.exp(free) / np.exp(free).sum()
        mixed = np.tensordot(weights, probabilities, axes=1)[known]
        return float(-np.where(targets[known] == 1, np.log(mixed), np.log(1 - mixed)).mean())

    best = minimize(loss, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-14, "maxiter": 5000})
    weights = fit_weights(targets, probabilities).weights[:, 0]
    assert weights.sum() == pytest.approx(1) and (weights >= 0).all()
    assert loss(np.log(weights + 1e-300)) == pytest.approx(best.fun, abs=1e-6)


@pytest.mark.parametrize("rule", ["weighted", "stacked"])
def test_what_combines_a_fold_is_fitted_without_it(runs: list[Path], tmp_path: Path, rule: str) -> None:
    """With the targets of fold 2 turned round, its own combined probabilities stay as they were, and those of others change."""
    before, figures = combined(runs, tmp_path / "before", "--rule", rule)
    turned = []
    for run in runs:
        oof = pd.read_csv(run / "oof.csv")
        rows = oof["fold"] == 2
        for label in LABELS:
            oof.loc[rows, f"target_{label}"] = 1 - oof.loc[rows, f"target_{label}"]
        turned.append(write_run(tmp_path / "turned" / run.name, oof, folds_hash="f" * 64))
    after, _ = combined(turned, tmp_path / "after", "--rule", rule)
    held_out = before["fold"] == 2
    np.testing.assert_array_equal(after.loc[held_out, PROBABILITIES], before.loc[held_out, PROBABILITIES])
    assert (after.loc[~held_out, PROBABILITIES] != before.loc[~held_out, PROBABILITIES]).all(axis=None)
    weights = np.array(figures["combination"]["labels"]["wheeze"]["weights"])
    assert weights[0] > weights[1] > weights[2] and abs(weights[2]) < 0.2
    assert figures["macro_auroc"] > max(figures["members"].values())


def test_the_stack_is_scikit_learn_s(runs: list[Path], tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression

    table, _ = combined(runs, tmp_path / "stack", "--rule", "stacked")
    logits = np.stack([np.log(p / (1 - p)) for p in (predictions(run).loc[table.index, "prob_crackle"] for run in runs)], axis=1)
    others, own = table["fold"] != 1, table["fold"] == 1
    fitted = LogisticRegression(C=1.0, max_iter=1000).fit(logits[others], table.loc[others, "target_crackle"])
    np.testing.assert_allclose(table.loc[own, "prob_crackle"], fitted.predict_proba(logits[own])[:, 1], rtol=1e-6)


def test_report_and_compare_take_it(runs: list[Path], tmp_path: Path) -> None:
    _, figures = combined(runs[:2], tmp_path / "both")
    judged = main(["report", "--run", str(tmp_path / "both"), "--resamples", "20", "--examples", "0"])
    assert judged["macro_auroc"] == pytest.approx(figures["macro_auroc"])
    compared = main(
        ["compare", "--runs", json.dumps([str(runs[0]), str(tmp_path / "both")]), "--resamples", "20", "--out", str(tmp_path / "c")]
    )
    difference = compared["differences"]["both"]["macro_auroc"]["difference"]
    assert difference == pytest.approx(figures["macro_auroc"] - figures["members"][str(runs[0])])
    record = json.loads((tmp_path / "both" / "run.json").read_text())
    assert record["ensemble"]["runs"] == [str(run) for run in runs[:2]] and record["seed"] is None and record["sample_rate"] == 4000


def test_what_does_not_fit_is_refused(runs: list[Path], tmp_path: Path, capsys: Any) -> None:
    oof = pd.read_csv(runs[0] / "oof.csv")
    out = str(tmp_path / "out")

    def joined(*names: Path) -> list[str]:
        return ["ensemble", "--runs", json.dumps([str(name) for name in names]), "--out", out]

    other_data = write_run(tmp_path / "data", oof, data_hash="e" * 64, folds_hash="f" * 64)
    assert "other clips, patients or labels (data_hash" in sentence(capsys, joined(runs[0], other_data))
    other_folds = write_run(tmp_path / "folds", oof, folds_hash="e" * 64)
    assert "other folds (folds_hash" in sentence(capsys, joined(runs[0], other_folds))
    fewer = write_run(tmp_path / "fewer", oof.iloc[1:], folds_hash="f" * 64)
    assert "predicted other clips" in sentence(capsys, joined(runs[0], fewer))
    moved = write_run(tmp_path / "moved", oof.assign(fold=(oof["fold"] + 1) % 4), folds_hash="f" * 64)
    assert "has other folds than" in sentence(capsys, joined(runs[0], moved))
    assert "expected two or more" in sentence(capsys, joined(runs[0], runs[0]))
    assert "No run at" in sentence(capsys, joined(runs[0], tmp_path / "none"))
    assert "--weights is [1.0]" in sentence(capsys, [*joined(*runs), "--rule", "weighted", "--weights", "[1]"])
    assert "--weights is" in sentence(capsys, [*joined(*runs[:2]), "--weights", "[1, 2]"])
    assert "--weights is" in sentence(capsys, [*joined(*runs[:2]), "--rule", "weighted", "--weights", "[-1, 2]"])
    assert not Path(out).exists()
    assert "is not empty" in sentence(capsys, [*joined(*runs)[:-1], str(runs[0])])


@pytest.fixture(scope="module")
def trained(made: Path, finished_run: Any, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two trained runs on the same folds: other features, encoder, windows and seed."""
    folder = tmp_path_factory.mktemp("trained") / "mfcc"
    data = ["--data.manifest", str(made / "manifest.csv"), "--data.folds", str(made / "folds.csv"), "--skip-near-duplicates"]
    other = [
        "--model.front_end",
        "common.frontends.Mfcc",
        "--model.front_end.num_coefficients",
        "12",
        "--model.encoder",
        "common.encoders.Cnn2d",
        "--model.encoder.channels",
        "[4, 8]",
    ]
    short = ["--model.clip_s", "0.6", "--seed_everything", "4", "--trainer.max_epochs", "1"]
    main(["crossval", "-c", str(made / "tiny.yaml"), *data, *other, *short, "--out", str(folder)])
    return [finished_run[0], folder]


@pytest.mark.parametrize(("rule", "calibration"), [("mean", "none"), ("stacked", "platt")])
def test_one_file_answers_as_the_ensemble(made: Path, trained: list[Path], tmp_path: Path, rule: str, calibration: str) -> None:
    """A clip's out-of-fold probability, from the file of the fold that held it out; the file of all folds is their mean."""
    import soundfile
    import torch

    from finetune.evaluation.calibration.cross_fit import calibrate
    from finetune.run_folder import read_run_folder

    table, figures = combined(trained, tmp_path / "both", "--rule", rule)
    written = main(["export", "--run", str(tmp_path / "both"), "--out", str(tmp_path / "model.pt"), "--calibration", calibration])
    assert written["parity"] <= 1e-5 and len(written["fold_models"]) == 3
    manifest = pd.read_csv(made / "manifest.csv").set_index("clip_id")
    members = np.stack([predictions(run).loc[table.index, PROBABILITIES].to_numpy() for run in trained])
    weights = {label: figures["combination"]["labels"][label] for label in LABELS}
    if rule == "mean":
        expected = members.mean(axis=0)
    else:
        logits = np.log(members / (1 - members))
        joined = [(np.array(weights[label]["weights"])[:, None] * logits[:, :, i]).sum(axis=0) for i, label in enumerate(LABELS)]
        expected = 1 / (1 + np.exp(-np.stack([of + weights[label]["offset"] for of, label in zip(joined, LABELS, strict=True)], axis=1)))
        from finetune.evaluation.out_of_fold import read_out_of_fold

        run = read_run_folder(tmp_path / "both")
        fitted = calibrate(read_out_of_fold(tmp_path / "both" / "oof.csv", LABELS), "platt").exported[0]
        assert run.validation().keys() == {0, 1, 2}
        expected = fitted.numpy(expected)
    for clip in ("c000", "c017", "c030"):
        row = list(table.index).index(clip)
        samples, rate = soundfile.read(manifest["path"][clip], dtype="float32")
        waveform = torch.from_numpy(samples).unsqueeze(0)
        of_folds = [torch.jit.load(path)(waveform, rate)[0][0].numpy() for path in written["fold_models"]]
        np.testing.assert_allclose(of_folds[table["fold"][clip]], expected[row], atol=2e-4)
        whole = torch.jit.load(str(tmp_path / "model.pt"))(waveform, rate)[0][0].numpy()
        np.testing.assert_allclose(whole, np.mean(of_folds, axis=0), atol=1e-6)
    found = main(["predict", "--model", str(tmp_path / "model.pt"), "--input", manifest["path"]["c000"], "--out", str(tmp_path / "p.csv")])
    assert found
    extra = {"model.json": "", "MODEL_CARD.md": ""}
    torch.jit.load(str(tmp_path / "model.pt"), _extra_files=extra)
    described = json.loads(extra["model.json"])["ensemble"]
    assert described["rule"] == rule and [member["clip_s"] for member in described["members"]] == [1.0, 0.6]
    assert f"Networks averaged: 6, of 2 runs combined by {rule}" in bytes(extra["MODEL_CARD.md"]).decode()


def test_an_export_without_its_members_is_refused(runs: list[Path], trained: list[Path], tmp_path: Path, capsys: Any) -> None:
    combined(trained, tmp_path / "inner")
    combined([trained[0], tmp_path / "inner"], tmp_path / "outer")
    export = ["export", "--out", str(tmp_path / "model.pt"), "--run"]
    assert "is an ensemble itself" in sentence(capsys, [*export, str(tmp_path / "outer")])
    explain = ["explain", "--clip", '["c001"]', "--out", str(tmp_path / "page.html"), "--run", str(tmp_path / "inner")]
    assert "no networks of its own: give one of the runs that it combines" in sentence(capsys, explain)
    record = json.loads((tmp_path / "inner" / "run.json").read_text())
    record["ensemble"]["runs"][1] = str(tmp_path / "gone")
    (tmp_path / "inner" / "run.json").write_text(json.dumps(record))
    assert "No run at" in sentence(capsys, [*export, str(tmp_path / "inner")])
    record["ensemble"]["runs"][1] = str(trained[1])
    (tmp_path / "inner" / "run.json").write_text(json.dumps(record | {"folds_hash": "e" * 64}))
    assert "make the ensemble again" in sentence(capsys, [*export, str(tmp_path / "inner")])
