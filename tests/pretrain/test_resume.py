"""A run that was cut off within an epoch ends as one that was not: weights bit by bit, and every logged number."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from cut_runs import OFTEN, at_step, interrupt, same_run

from pretrain.simclr import SimCLR

# 8 patients of 3 clips, 6 of them to train on: 9 batches in an epoch, 27 in all.
BATCHES = 9
OPTIONS = ["--trainer.max_epochs", "3", "--data.batch_size", "2", "--model.encoder.init_args.dropout", "0.2"]


@pytest.fixture(scope="module")
def undisturbed(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from pretrain.__main__ import main

    out = tmp_path_factory.mktemp("undisturbed") / "run"
    main(["fit", "-c", str(made / "tiny.yaml"), "--data.manifest", str(made / "manifest.csv"), "--out", str(out), *OPTIONS])
    return out


def test_killed_within_an_epoch_it_ends_as_an_undisturbed_run(made: Path, fit: Any, tmp_path: Path, undisturbed: Path) -> None:
    out = tmp_path / "run"
    kill = f"""
import os, signal
import pretrain.simclr as s
step = s.SimCLR.training_step
def cut(module, *arguments):
    if module.trainer.global_step == {BATCHES + 4}:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(module, *arguments)
s.SimCLR.training_step = cut
from pretrain.__main__ import main
"""
    arguments = ["fit", "-c", str(made / "tiny.yaml"), "--data.manifest", str(made / "manifest.csv"), "--out", str(out), *OPTIONS, *OFTEN]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    root = Path(__file__).resolve().parents[2]
    ended = subprocess.run([sys.executable, "-c", f"{kill}main({arguments!r})"], cwd=root, env=environment, capture_output=True, text=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    checkpoint = torch.load(out / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == BATCHES + 4 and checkpoint["epoch"] == 1 and checkpoint["epoch_sums"]
    # How often a run is saved may change when it is resumed.
    fit(out, *OPTIONS)
    same_run(out, undisturbed)


@pytest.mark.parametrize("step", [0, 1, BATCHES - 1, BATCHES, BATCHES + 1, 3 * BATCHES - 1])
def test_interrupted_at_any_step_it_ends_as_an_undisturbed_run(
    fit: Any, tmp_path: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(SimCLR, "training_step", at_step(step, interrupt))
        with pytest.raises(SystemExit) as exit:
            fit(tmp_path / "run", *OPTIONS, *OFTEN)
        assert exit.value.code == 130
    if step:
        assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"] == step
    fit(tmp_path / "run", *OPTIONS, *OFTEN)
    same_run(tmp_path / "run", undisturbed)


def test_sigterm_saves_and_the_run_goes_on_there(
    fit: Any, tmp_path: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(SimCLR, "training_step", at_step(BATCHES + 2, lambda: os.kill(os.getpid(), signal.SIGTERM)))
        with pytest.raises(SystemExit) as exit:
            fit(tmp_path / "run", *OPTIONS)
        assert exit.value.code == 143
    assert f"Stopped by SIGTERM after step {BATCHES + 3}: run the same command again" in capsys.readouterr().err
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"] == BATCHES + 3
    fit(tmp_path / "run", *OPTIONS, "--trainer.enable_progress_bar", "true")
    same_run(tmp_path / "run", undisturbed)


def test_a_checkpoint_is_whole_or_not_there(fit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: Path) -> None:
    save = torch.save
    written = []

    def cut(contents: Any, path: Any) -> None:
        written.append(path)
        if len(written) == 4:
            Path(path).write_bytes(b"half a checkpoint")
            interrupt()
        save(contents, path)

    with monkeypatch.context() as patch:
        patch.setattr("common.training.checkpoint.torch.save", cut)
        with pytest.raises(SystemExit):
            fit(tmp_path / "run", *OPTIONS, *OFTEN)
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"] == 3
    fit(tmp_path / "run", *OPTIONS)
    same_run(tmp_path / "run", undisturbed)


@pytest.mark.parametrize("step", [4, 5])
def test_an_epoch_that_is_cut_short_counts_as_whole(fit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """The next one begins with its first batch, whatever the loader had left."""
    options = [*OPTIONS, "--trainer.limit_train_batches", "5"]
    fit(tmp_path / "undisturbed", *options)
    with monkeypatch.context() as patch:
        patch.setattr(SimCLR, "training_step", at_step(step, interrupt))
        with pytest.raises(SystemExit):
            fit(tmp_path / "run", *options, *OFTEN)
    fit(tmp_path / "run", *options)
    same_run(tmp_path / "run", tmp_path / "undisturbed")


def test_every_step_is_logged_once(fit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(SimCLR, "training_step", at_step(BATCHES + 5, interrupt))
        with pytest.raises(SystemExit):
            fit(tmp_path / "run", *OPTIONS, "--trainer.log_every_n_steps", "1", *OFTEN)
    fit(tmp_path / "run", *OPTIONS, "--trainer.log_every_n_steps", "1", *OFTEN)
    rows = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert rows.loc[rows["metric"] == "train/loss_step", "step"].tolist() == list(range(3 * BATCHES))
    assert not rows.duplicated(["epoch", "step", "metric"]).any()


def test_a_checkpoint_of_an_earlier_version_is_resumed(
    fit: Any, tmp_path: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those were written at the end of an epoch, without sums and without the loader's place."""
    with monkeypatch.context() as patch:
        patch.setattr(SimCLR, "training_step", at_step(BATCHES, interrupt))
        with pytest.raises(SystemExit):
            fit(tmp_path / "run", *OPTIONS, "--checkpoint_minutes", "0")
    checkpoint = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert "epoch_sums" not in checkpoint
    del checkpoint["loops"]["fit_loop"]["state_dict"]["combined_loader"]
    checkpoint["callbacks"] = {name: state for name, state in checkpoint["callbacks"].items() if name.startswith(("Timer", "FolderCheck"))}
    torch.save(checkpoint, tmp_path / "run" / "last.ckpt")
    fit(tmp_path / "run", *OPTIONS)
    same_run(tmp_path / "run", undisturbed)


def test_the_scale_of_half_precision_goes_on_where_it_was(fit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the processor, where float16 is scaled as on a GPU. The scale doubles at every second step, so a forgotten one would show."""
    scaler = {"class_path": "torch.amp.GradScaler", "init_args": {"device": "cpu", "init_scale": 2.0, "growth_interval": 2}}
    plugin = {"class_path": "MixedPrecision", "init_args": {"precision": "16-mixed", "device": "cpu", "scaler": scaler}}
    options = [*OPTIONS, "--trainer.max_epochs", "1", "--trainer.plugins", json.dumps([plugin])]
    fit(tmp_path / "undisturbed", *options)
    with monkeypatch.context() as patch:
        patch.setattr(SimCLR, "training_step", at_step(5, interrupt))
        with pytest.raises(SystemExit):
            fit(tmp_path / "run", *options, *OFTEN)
    cut = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["MixedPrecision"]
    assert cut["scale"] == 8 and cut["_growth_tracker"] == 1
    fit(tmp_path / "run", *options)
    same_run(tmp_path / "run", tmp_path / "undisturbed")
    ended, wanted = (torch.load(tmp_path / name / "last.ckpt", weights_only=True)["MixedPrecision"] for name in ("run", "undisturbed"))
    assert ended == wanted and ended["scale"] > cut["scale"]
