"""The label-efficiency command at a size of seconds: what it trains on, what chooses, where it stops and goes on."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from sklearn.metrics import roc_auc_score

from benchmarks import label_efficiency
from benchmarks.commands import call
from benchmarks.labels import experiment
from benchmarks.labels.subsets import LABELS
from common.encoder_file import load_encoder
from common.encoders import EfficientAT
from common.manifest import read_manifest, write_manifest

STARTS = ("scratch", "simclr", "audioset", "audioset_simclr")
STEPS = 5


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made patients, configs of a network a hundredth as wide, and weights for it."""
    work = tmp_path_factory.mktemp("label_efficiency")
    call("common", "synthetic", "--out", work / "made", "--patients", 15, "--clips_per_patient", 3, "--seconds", 1.0)
    call("common", "manifest", "takehome", "--root", work / "made", "--out", work / "manifest.csv")
    front_end = {"class_path": "common.frontends.LogMel", "init_args": {"sample_rate": 4000, "n_fft": 256, "hop": 128, "num_mels": 32}}
    encoder = {"class_path": "common.encoders.EfficientAT", "init_args": {"width": 0.1, "weights": None}}
    both = {"front_end": front_end, "encoder": encoder}
    (work / "pretrain.yaml").write_text(yaml.safe_dump({"model": both}), encoding="utf-8")
    task = {"class_path": "finetune.tasks.multilabel.MultiLabel"}
    (work / "finetune.yaml").write_text(yaml.safe_dump({"model": {"task": task, **both}}), encoding="utf-8")
    torch.manual_seed(1)
    torch.save(EfficientAT(0.1).state_dict(), work / "weights.pt")
    return work


def arguments(work: Path, out: str = "out") -> list[str]:
    size = ["--seeds", 4, "--shares", 40, "--num-folds", 3, "--clip-s", 0.5]
    size += ["--pretrain-epochs", 1, "--pretrain-batch", 8, "--finetune-batch", 8, "--finetune-steps", STEPS]
    files = ["--manifest", work / "manifest.csv", "--weights", work / "weights.pt", "--out", work / out]
    configs = ["--pretrain-config", work / "pretrain.yaml", "--finetune-config", work / "finetune.yaml"]
    return [str(word) for word in (*files, *configs, *size)]


@pytest.fixture(scope="module")
def figures(work: Path) -> list[dict[str, Any]]:
    """What the command returns when its time is up at once, after one run, and when it goes on to the end."""
    told = [label_efficiency.main([*arguments(work), "--minutes", "0"])]
    with pytest.MonkeyPatch.context() as patch:
        clock = iter([0.0, 59.0])
        patch.setattr(label_efficiency.time, "monotonic", lambda: next(clock, 61.0))
        told.append(label_efficiency.main([*arguments(work), "--minutes", "1"]))
    return [*told, label_efficiency.main(arguments(work))]


def test_it_stops_when_the_time_is_up_and_goes_on(figures: list[dict[str, Any]]) -> None:
    nothing, one, everything = figures
    assert (nothing["complete"], nothing["points"], len(nothing["missing"])) == (False, 0, 4)
    assert (one["complete"], one["points"], [point["start"] for point in one["curve"]]) == (False, 1, ["scratch"])
    assert one["missing"] == ["seed 4, SimCLR, 40 %", "seed 4, AudioSet, 40 %", "seed 4, AudioSet + SimCLR, 40 %"]
    assert everything["complete"] and everything["missing"] == []
    assert tuple(point["start"] for point in everything["curve"]) == STARTS
    assert everything["curve"][0] == one["curve"][0]
    assert [(row["with"], row["n"]) for row in everything["differences"]] == [("audioset_simclr", 1), ("simclr", 1)]
    by_start = {point["start"]: point["macro_auroc"] for point in everything["curve"]}
    gain = everything["differences"][1]["mean"]
    assert gain == pytest.approx(by_start["simclr"] - by_start["scratch"], abs=2e-4)


def test_a_finished_curve_is_written_again_without_training(
    work: Path, figures: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(experiment, "call", lambda *args: pytest.fail(f"was called: {args}"))
    for name in ("label_efficiency.csv", "label_efficiency.md", "label_efficiency.svg"):
        (work / "out" / name).unlink()
    label_efficiency.main([*arguments(work), "--minutes", "0"])
    again = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert again == figures[-1]
    page = (work / "out" / "label_efficiency.md").read_text(encoding="utf-8")
    assert str(work) not in page and "--manifest manifest.csv --weights weights.pt" in page and "--minutes" not in page
    assert (work / "out" / "label_efficiency.svg").is_file()
    table = pd.read_csv(work / "out" / "label_efficiency.csv")
    assert tuple(table["start"]) == STARTS and table["n"].eq(1).all()


def test_nobody_is_both_heard_or_labelled_and_held_out(work: Path, figures: list[dict[str, Any]]) -> None:
    folds = pd.read_csv(work / "out" / "folds.csv", dtype={"patient": str})
    # Seed 4 of 3 folds holds out fold 1.
    held_out = set(folds["patient"][folds["fold"] == 1])
    table = read_manifest(work / "out" / "seed-4" / "labels-40.csv", LABELS)
    labelled = table[table["wheeze"].notna() & (folds["role_1"] == "train")]
    points = pd.read_csv(work / "out" / "label_efficiency_points.csv").set_index("start")
    assert 0 < labelled["patient"].nunique() == points.loc["scratch", "patients"] < points.loc["scratch", "training_patients"]
    assert not set(labelled["patient"]) & held_out
    for start in ("simclr", "audioset_simclr"):
        heard = load_encoder(work / "out" / "seed-4" / f"pretrain-{start}" / "encoder.pt").patients
        assert set(heard) == set(folds["patient"]) - held_out
    truth = pd.read_csv(work / "manifest.csv").set_index("clip_id")
    for start in STARTS:
        run = work / "out" / "seed-4" / f"{start}-40"
        predicted = pd.read_csv(run / "predictions.csv", dtype={"patient": str})
        assert set(predicted["patient"]) == held_out
        assert predicted["target_wheeze"].tolist() == truth.loc[predicted["clip_id"], "wheeze"].tolist()
        areas = [roc_auc_score(predicted[f"target_{label}"], predicted[f"prob_{label}"]) for label in ("wheeze", "crackle")]
        assert points.loc[start, "macro_auroc"] == pytest.approx(np.mean(areas))
        fold = json.loads((run / "fold.json").read_text(encoding="utf-8"))
        assert (fold["fold"], fold["train_clips"]) == (1, len(labelled)) == (1, points.loc[start, "clips"])


def test_each_start_has_its_weights_and_its_learning_rate(work: Path, figures: list[dict[str, Any]]) -> None:
    config = {
        start: yaml.safe_load((work / "out" / "seed-4" / f"{start}-40" / "config.yaml").read_text(encoding="utf-8"))["model"]
        for start in STARTS
    }
    weights = {start: (model["encoder"] or {"init_args": {"weights": None}})["init_args"]["weights"] for start, model in config.items()}
    assert weights == dict.fromkeys(STARTS) | {"audioset": str(work / "weights.pt")}
    assert [start for start in STARTS if config[start]["encoder_file"]] == ["simclr", "audioset_simclr"]
    pretrained = {
        start: yaml.safe_load((work / "out" / "seed-4" / f"pretrain-{start}" / "config.yaml").read_text(encoding="utf-8"))["model"]
        for start in ("simclr", "audioset_simclr")
    }
    assert pretrained["simclr"]["encoder"]["init_args"]["weights"] is None and pretrained["simclr"]["lr"] == 1e-3
    assert pretrained["audioset_simclr"]["encoder"]["init_args"]["weights"] == str(work / "weights.pt")


def fit_again(work: Path, run: Path, manifest: pd.DataFrame, name: str) -> pd.DataFrame:
    write_manifest(work / f"{name}.csv", manifest)
    call("finetune", "fit", "-c", run / "config.yaml", "--out", work / name, "--data.manifest", work / f"{name}.csv")
    return pd.read_csv(work / name / "predictions.csv")


def test_no_validation_label_chooses_anything(work: Path, figures: list[dict[str, Any]]) -> None:
    """The weights are those after the last step, whatever validation says; training labels, which must matter, do."""
    run = work / "out" / "seed-4" / "audioset-40"
    assert torch.load(run / "best.ckpt", weights_only=True)["global_step"] == STEPS
    folds = pd.read_csv(work / "out" / "folds.csv")
    table = read_manifest(work / "out" / "seed-4" / "labels-40.csv", LABELS)
    predicted = pd.read_csv(run / "predictions.csv")
    for role, matters in (("validation", False), ("train", True)):
        flipped = table.copy()
        flipped.loc[folds["role_1"] == role, list(LABELS)] = 1 - table[list(LABELS)]
        again = fit_again(work, run, flipped, f"flipped-{role}")
        assert again["clip_id"].equals(predicted["clip_id"])
        assert (not again["prob_wheeze"].equals(predicted["prob_wheeze"])) == matters


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["--clip-s", "0.25"], "clip_s=0.5, not 0.25"),
        (["--weights", "manifest.csv"], "weights="),
        (["--weights", "nothing.pt"], "No weights at nothing.pt"),
        (["--shares", "0"], "--shares is 0, expected percents"),
        (["--seeds", "-1"], "--seeds has -1"),
    ],
)
def test_a_mistake_is_one_sentence(
    work: Path,
    figures: list[dict[str, Any]],
    changed: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(work)
    with pytest.raises(SystemExit) as stopped:
        label_efficiency.main([*arguments(work), *changed])
    assert stopped.value.code == 1
    assert message in capsys.readouterr().err.strip().splitlines()[-1]


def test_a_point_without_a_class_is_reported_and_not_trained(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = read_manifest(work / "manifest.csv", LABELS).assign(crackle=0)
    write_manifest(tmp_path / "manifest.csv", table)
    shutil.copytree(work / "store", tmp_path / "store")
    told = label_efficiency.main([*arguments(work), "--manifest", str(tmp_path / "manifest.csv"), "--out", str(tmp_path / "out")])
    assert told["complete"] and told["curve"] == [] and told["points"] == 4
    page = (tmp_path / "out" / "label_efficiency.md").read_text(encoding="utf-8")
    assert "seed 4 not evaluable: no training patient with crackle=1" in page
    assert not (tmp_path / "out" / "seed-4").exists()
