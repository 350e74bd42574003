"""Runs that are cut off at a step, and whether they end as others do."""

from pathlib import Path
from typing import Any

import torch

from common.encoder_file import load_encoder
from pretrain.simclr import SimCLR

# Every step is saved.
OFTEN = ["--checkpoint_minutes", "1e-9"]
STEP = SimCLR.training_step


def at_step(number: int, action: Any) -> Any:
    """A training step that calls ``action`` before the step ``number``."""

    def step(module: SimCLR, *arguments: Any) -> Any:
        if module.trainer.global_step == number:
            action()
        return STEP(module, *arguments)

    return step


def interrupt() -> None:
    raise KeyboardInterrupt


def same_run(one: Path, other: Path) -> None:
    ended, wanted = (torch.load(folder / "last.ckpt", weights_only=True) for folder in (one, other))
    for part in ("state_dict", "optimizer_states", "lr_schedulers"):
        torch.testing.assert_close(ended[part], wanted[part], rtol=0, atol=0, msg=part)
    assert (one / "metrics.csv").read_text() == (other / "metrics.csv").read_text()
    encoders = [load_encoder(folder / "encoder.pt").encoder.state_dict() for folder in (one, other)]
    torch.testing.assert_close(*encoders, rtol=0, atol=0)
