"""A run's folder: claimed by one config, resumed only by the same one, and removed when nothing came of it."""

import json
import shutil
from pathlib import Path
from typing import Any

import yaml

from common.errors import UserError
from common.files import write_text

LAST, BEST, FINISHED, CONFIG = "last.ckpt", "best.ckpt", "finished.json", "config.yaml"
BAD_BATCH = "bad_batch.pt"

# What may differ between the start of a run and its resumption: where it is shown, how often it is saved and on how many devices it
# runs (which changes the batches, but a run need not wait for the devices that it began on).
FREE_KEYS = ("config", "out", "tracking", "checkpoint_minutes", "trainer.enable_progress_bar", "trainer.num_nodes", "trainer.devices")


def claim(folder: Path, config: dict[str, Any]) -> bool:
    """Make ``folder`` this run's and write its config there; returns whether it was free, False where the same run began before.

    Raises:
        UserError: the folder holds a run with another config (naming the first key that differs), or something else.
    """
    path = folder / CONFIG
    if path.is_file():
        earlier = flat(yaml.safe_load(path.read_text(encoding="utf-8")))
        now = flat(config)
        for key in sorted({*earlier, *now}):
            if not key.startswith(FREE_KEYS) and earlier.get(key) != now.get(key):
                raise UserError(
                    f"{folder} holds a run with {key}={earlier.get(key)!r}, not {now.get(key)!r}: "
                    "choose another --out, or remove the folder to start over."
                )
        return False
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is not empty and holds no run: choose another --out.")
    write_text(path, yaml.safe_dump(config, sort_keys=False))
    return True


def finished(folder: Path) -> dict[str, Any] | None:
    """The figures of the run in ``folder``, None where it has not ended."""
    path = folder / FINISHED
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def abandon(folder: Path) -> None:
    """Remove a run's folder in which nothing was learned yet, so that a mistake leaves nothing that looks like a run.

    A batch that was saved for a person to look at stays, and the folder with it.
    """
    if not any((folder / name).is_file() for name in (LAST, BAD_BATCH)):
        shutil.rmtree(folder, ignore_errors=True)


def flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """``{"model": {"lr": 0.1}}`` as ``{"model.lr": 0.1}``; lists are not taken apart."""
    if not isinstance(config, dict) or not config:
        return {prefix: config}
    return {key: value for name, item in config.items() for key, value in flat(item, f"{prefix}.{name}" if prefix else str(name)).items()}
