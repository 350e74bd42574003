"""A fold that was cut off within an epoch ends as one that was not: weights, predictions and every logged number."""

from pathlib import Path
from typing import Any

import pytest
import torch

from finetune.__main__ import main
from finetune.classifier import Classifier

STEP = Classifier.training_step


def fit(made: Path, out: Path, *options: str) -> Any:
    data = ["--data.manifest", str(made / "manifest.csv"), "--data.folds", str(made / "folds.csv"), "--data.fold", "0"]
    return main(["fit", "-c", str(made / "tiny.yaml"), *data, "--out", str(out), *options])


def test_interrupted_within_an_epoch_it_ends_as_an_undisturbed_fold(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = fit(made, tmp_path / "undisturbed")

    def step(module: Classifier, batch: Any, batch_idx: int) -> Any:
        if module.current_epoch == 2 and batch_idx == 1:
            raise KeyboardInterrupt
        return STEP(module, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(Classifier, "training_step", step)
        with pytest.raises(SystemExit):
            fit(made, tmp_path / "run", "--checkpoint_minutes", "1e-9")
    checkpoint = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert checkpoint["epoch"] == 2 and checkpoint["loops"]["fit_loop"]["state_dict"]["combined_loader"] == [{"epoch": 2, "batches": 1}]
    assert {**fit(made, tmp_path / "run"), "seconds": 0} == {**expected, "seconds": 0}
    for file in ("metrics.csv", "predictions.csv"):
        assert (tmp_path / "run" / file).read_bytes() == (tmp_path / "undisturbed" / file).read_bytes()
    for file in ("last.ckpt", "best.ckpt"):
        ended, wanted = (torch.load(tmp_path / run / file, weights_only=True)["state_dict"] for run in ("run", "undisturbed"))
        torch.testing.assert_close(ended, wanted, rtol=0, atol=0)


def test_accumulated_gradients_are_not_lost(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches make steps of 3 until the epoch ends: a checkpoint holds no gradients, so none is written among them."""
    options = ["--trainer.accumulate_grad_batches", "3", "--data.batch_size", "2", "--trainer.max_epochs", "2"]
    fit(made, tmp_path / "undisturbed", *options)

    def step(module: Classifier, batch: Any, batch_idx: int) -> Any:
        if module.current_epoch == 1 and batch_idx == 5:
            raise KeyboardInterrupt
        return STEP(module, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(Classifier, "training_step", step)
        with pytest.raises(SystemExit):
            fit(made, tmp_path / "run", *options, "--checkpoint_minutes", "1e-9")
    checkpoint = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert checkpoint["loops"]["fit_loop"]["state_dict"]["combined_loader"] == [{"epoch": 1, "batches": 3}]
    fit(made, tmp_path / "run", *options)
    assert (tmp_path / "run" / "metrics.csv").read_text() == (tmp_path / "undisturbed" / "metrics.csv").read_text()
    ended, wanted = (torch.load(tmp_path / run / "last.ckpt", weights_only=True)["state_dict"] for run in ("run", "undisturbed"))
    torch.testing.assert_close(ended, wanted, rtol=0, atol=0)
