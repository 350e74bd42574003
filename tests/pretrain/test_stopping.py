"""A run that breaks stops in one sentence, keeps the batch, and leaves no checkpoint of it."""

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from common.manifest import read_manifest
from pretrain.monitor.stopping import Pending, Seen, StopWhenBroken
from pretrain.simclr import SimCLR

DIVERGING = ["--model.lr", "1e30", "--model.optimizer", "sgd", "--model.warmup_epochs", "0"]
STEP = SimCLR.training_step


def sentence(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_batch(
    made: Path, fit: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit:
        fit(tmp_path / "run", *DIVERGING)
    assert exit.value.code == 1
    message = sentence(capsys)
    assert message.startswith("error: The loss became nan in epoch 0, step ") and "lower model.lr (1e+30)" in message
    saved = torch.load(tmp_path / "run" / "bad_batch.pt", weights_only=True)
    page = (Path(__file__).resolve().parents[2] / "docs" / "files.md").read_text()
    described = page.partition("\n## bad_batch.pt\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)`", described, re.MULTILINE)) == saved.keys()
    assert saved["reason"] in message and saved["part"] == "training" and saved["loss"] != saved["loss"]
    # One bad step makes the weights infinite, the next shows it.
    assert (saved["epoch"], saved["step"], saved["batch"]) == (0, 1, 1)
    assert saved["crops"].shape == (2, 4, 2000) and saved["rows"].shape == (2, 4) and saved["projections"].shape == (8, 128)
    assert not saved["projections"].isfinite().all()
    assert not (tmp_path / "run" / "last.ckpt").exists()
    known = set(read_manifest(made / "manifest.csv")["clip_id"])
    assert {name for view in saved["clip_ids"] for name in view} <= known and saved["clip_ids"][0] == saved["clip_ids"][1]


def test_a_batch_in_chunks_is_kept_with_all_projections(fit: Any, tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        fit(tmp_path / "run", *DIVERGING, "--model.chunk_size", "2", "--model.views", "same_crop")
    saved = torch.load(tmp_path / "run" / "bad_batch.pt", weights_only=True)
    assert saved["crops"].shape == (1, 4, 2000) and saved["rows"].shape == (1, 4) and len(saved["projections"]) >= 8


def test_the_last_checkpoint_is_from_before_it(fit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def step(module: SimCLR, batch: Any, batch_idx: int) -> Any:
        loss = STEP(module, batch, batch_idx)
        return loss * torch.nan if module.global_step == 6 else loss

    monkeypatch.setattr(SimCLR, "training_step", step)
    with pytest.raises(SystemExit):
        fit(tmp_path / "run", "--checkpoint_minutes", "1e-9")
    checkpoint = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 6
    assert all(value.isfinite().all() for value in checkpoint["state_dict"].values())
    assert torch.load(tmp_path / "run" / "bad_batch.pt", weights_only=True)["step"] == 6


def test_a_validation_loss_that_is_no_number_stops_too(
    fit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    step = SimCLR.validation_step
    monkeypatch.setattr(SimCLR, "validation_step", lambda *arguments: step(*arguments) * torch.inf)
    with pytest.raises(SystemExit):
        fit(tmp_path / "run")
    assert "The validation loss became inf in epoch 0, step 4: lower model.lr" in sentence(capsys)
    assert torch.load(tmp_path / "run" / "bad_batch.pt", weights_only=True)["part"] == "validation"


def test_collapse_stops_the_run_once_it_has_settled(
    fit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """4 steps an epoch: with 10 of them settled, the third epoch is the first that counts."""
    monkeypatch.setattr("pretrain.monitor.stopping.SETTLED_STEPS", 10)
    limits = ["--model.collapse_epochs", "2", "--model.collapse_std", "2.0", "--trainer.max_epochs", "8"]
    with pytest.raises(SystemExit) as exit:
        fit(tmp_path / "run", *limits)
    assert exit.value.code == 1
    assert (
        "The embeddings have collapsed and stayed so for 2 epochs, to epoch 3:" in (message := sentence(capsys)) and "(limit 2)" in message
    )
    assert "model.collapse_epochs 0 goes on regardless" in message
    assert torch.load(tmp_path / "run" / "bad_batch.pt", weights_only=True)["epoch"] == 3
    # What was counted is not forgotten when the run is started again.
    with pytest.raises(SystemExit):
        fit(tmp_path / "run", *limits)
    assert "for 2 epochs, to epoch 3:" in sentence(capsys)


def test_embeddings_all_alike_count_as_collapsed(fit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pretrain.monitor.stopping.SETTLED_STEPS", 1)
    forward = SimCLR.views
    monkeypatch.setattr(SimCLR, "views", lambda module, crops: forward(module, crops) * 0)
    with pytest.raises(SystemExit):
        fit(tmp_path / "run", "--trainer.max_epochs", "9")
    metrics = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert metrics["epoch"].max() == 5, "one epoch of warm-up, then five of collapse; the last is not logged"


def test_a_healthy_run_does_not_stop(fit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pretrain.monitor.stopping.SETTLED_STEPS", 1)
    assert fit(tmp_path / "run", "--trainer.max_epochs", "12", "--model.collapse_epochs", "1")["epochs"] == 12


class Event:
    """Stands for a GPU's: the loss has arrived when somebody waits for it or it was asked for ``after`` times."""

    def __init__(self, after: int) -> None:
        self.after, self.waited = after, False

    def query(self) -> bool:
        self.after -= 1
        return self.waited or self.after < 0

    def synchronize(self) -> None:
        self.waited = True


def test_losses_that_have_not_arrived_are_not_waited_for() -> None:
    def seen(number: int) -> Seen:
        return Seen("training", 0, number, number, {}, [], torch.tensor(0.0))

    pending, events = Pending(), [Event(2), Event(0), Event(100), *(Event(100) for _ in range(4))]
    pending.queue.extend((seen(number), torch.tensor(number != 1), event) for number, event in enumerate(events[:3]))
    assert pending.first_not_finite(wait=False) is None and pending.first_not_finite(wait=False) is None and len(pending.queue) == 3
    found = pending.first_not_finite(wait=False)
    assert found is not None and found.number == 1 and not any(event.waited for event in events)
    pending.queue.extend((seen(number), torch.tensor(True), event) for number, event in enumerate(events[3:], start=3))
    assert pending.first_not_finite(wait=False) is None and len(pending.queue) == 4 and events[2].waited
    assert pending.first_not_finite(wait=True) is None and not pending.queue


def test_counting_starts_anew_after_a_healthy_epoch() -> None:
    stop = StopWhenBroken(epochs=3, std=0.1, rank=1.5, warmup_epochs=0)
    trainer: Any = type("Trainer", (), {"global_step": 1000, "current_epoch": 9, "loggers": [], "callback_metrics": {}})()
    for std, rank, expected in [(0.05, 9.0, 1), (0.5, 1.2, 2), (0.5, 9.0, 0), (0.05, 9.0, 1)]:
        trainer.callback_metrics = {"val/embedding_std": torch.tensor(std), "val/effective_rank": torch.tensor(rank)}
        stop.on_train_epoch_end(trainer, None)
        assert stop.collapsed == expected
