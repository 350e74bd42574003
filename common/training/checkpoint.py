"""Checkpoints that open alone: the module's own description travels with its weights, and no pickled code."""

from pathlib import Path
from typing import Any, TypeVar

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins import TorchCheckpointIO
from pytorch_lightning.callbacks import ModelCheckpoint

from common.described import Described, build
from common.encoders.base import load_weights, open_weights
from common.errors import UserError
from common.files import atomic_path

# Stands for the run folder in checkpoints.
RUN_FOLDER = "<run folder>"


class DescribedModule(Described, pl.LightningModule):
    """A LightningModule whose checkpoints say how it was made (see `Described`)."""

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["module"] = self.describe()


class FolderCheckpoint(ModelCheckpoint):
    """A ModelCheckpoint that knows its files by their place in the run folder, which may be moved before a run is resumed.

    Lightning's own forgets the best score when the folder's absolute path has changed, and a worse epoch then overwrites the best.
    """

    def state_dict(self) -> dict[str, Any]:
        return _replaced(super().state_dict(), str(self.dirpath), RUN_FOLDER)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(_replaced(state_dict, RUN_FOLDER, str(self.dirpath)))


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint beside the one that it replaces, then renames it: a kill leaves the old one or the new one.

    Lightning's own writes into the system's temporary folder. Where that is another disk, its last act is a copy, which a kill
    can cut short.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        with atomic_path(path) as temporary:
            torch.save(checkpoint, temporary)


def _replaced(value: Any, old: str, new: str) -> Any:
    """``value`` with ``old`` at the start of every text, dictionary keys included, replaced by ``new``."""
    if isinstance(value, str) and value.startswith(old):
        return new + value[len(old) :]
    if isinstance(value, dict):
        return {_replaced(key, old, new): _replaced(item, old, new) for key, item in value.items()}
    return value


def save_module(path: str | Path, module: DescribedModule) -> None:
    """Write a module that no trainer trained, so that `open_module` opens it."""
    with atomic_path(Path(path)) as temporary:
        torch.save({"module": module.describe(), "state_dict": module.state_dict()}, temporary)


M = TypeVar("M", bound=DescribedModule)


def open_module(path: str | Path, base: type[M]) -> M:
    """Rebuild a module from a checkpoint alone, on the CPU and in evaluation mode.

    Args:
        path: checkpoint that training wrote.
        base: class that it must be.

    Raises:
        UserError: the file is missing, is no such checkpoint, or does not fit the class.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"No checkpoint at {path}: check the path, or train first.")
    try:
        checkpoint = open_weights(path)
        description, state = checkpoint["module"], checkpoint["state_dict"]
    except (UserError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is not a checkpoint of this project: expected one that training wrote (best.ckpt or last.ckpt)."
        ) from error
    module = build(description, base)
    load_weights(module, state, str(path))
    return module.eval()
