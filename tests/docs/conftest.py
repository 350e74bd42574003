"""A folder in which the README was followed, for tests that hold the documentation against what the commands leave."""

import importlib
from pathlib import Path

import numpy as np
import pytest

from common.manifest import groups, read_manifest, write_manifest
from pretrain.patients import chosen
from tests.docs.pages import ROOT


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the README was followed, on made recordings and with networks too small to learn."""
    work = tmp_path_factory.mktemp("docs") / "work"
    small = ["--model.encoder", "common.encoders.Cnn2d", "--model.encoder.channels", "[4, 8]", "--model.clip_s", "0.5"]
    small += ["--data.batch_size", "8", "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu", "--trainer.log_every_n_steps", "1"]
    small += ["--trainer.enable_progress_bar", "false", "--tracking.wandb", "disabled"]
    manifest = work / "audit" / "manifest.csv"
    data = ["--data.manifest", manifest]
    run("common", "synthetic", "--out", work / "folder", "--patients", 12, "--clips-per-patient", 4, "--seconds", 0.6, "--dirt")
    run("common", "manifest", "takehome", "--root", work / "folder", "--out", work / "manifest.csv")
    run("common", "audit", "--manifest", work / "manifest.csv", "--out", work / "audit", "--pictures", 1)
    name_devices(manifest, share=0.4)
    run("common", "shard", "--manifest", manifest, "--out", work / "shards", "--sample-rate", 4000)
    run("finetune", "folds", "--manifest", manifest, "--out", work / "folds.csv", "--num_folds", 2)
    probe = ["--data.probe_manifest", manifest, "--data.probe_share", 0.4]
    run("pretrain", "fit", "-c", ROOT / "configs" / "pretrain.yaml", *data, *probe, *small, "--out", work / "pretrain")
    run("pretrain", "report", "--run", work / "pretrain")
    folds = ["--data.folds", work / "folds.csv", "--encoder", work / "pretrain" / "encoder.pt", "--transductive"]
    run("finetune", "crossval", "-c", ROOT / "configs" / "finetune.yaml", *data, *folds, *small, "--out", work / "run")
    run("finetune", "report", "--run", work / "run", "--resamples", 20, "--examples", 1)
    run("finetune", "export", "--run", work / "run", "--out", work / "model.pt", "--per_fold", "false")
    run("finetune", "export", "--run", work / "run", "--out", work / "bundle", "--per_fold", "false")
    run("finetune", "predict", "--model", work / "model.pt", "--input", work / "folder", "--out", work / "predictions.csv")
    return work


def name_devices(manifest: Path, share: float) -> None:
    """Give the patients that a probe of ``share`` of them takes two devices, two patients each or more."""
    table = read_manifest(manifest)
    probed = sorted(set(table["patient"][chosen(groups(table), share, "probe")]))
    write_manifest(manifest, table.assign(device=np.where(table["patient"].isin(probed[::2]), "one", "other")))


def run(package: str, *args: object) -> None:
    importlib.import_module(f"{package}.__main__").main([str(arg) for arg in args])
