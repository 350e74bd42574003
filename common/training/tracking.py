"""W&B beside the run folder: never a prompt, never a hang, never needed.

The run folder is the truth. W&B is given the same numbers, one run per fold, grouped by experiment, so that folds compare on one
dashboard. This project decides W&B's mode by itself, since W&B with neither mode nor login prompts or fails, and with a login
but no network waits for minutes.
"""

import netrc
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pytorch_lightning.loggers import Logger, WandbLogger

from common.progress import say

WandbMode = Literal["online", "offline", "disabled"]

DEFAULT_SERVER = "https://api.wandb.ai"
CONNECT_TIMEOUT_S = 3.0
INIT_TIMEOUT_S = 20.0
FINISH_TIMEOUT_S = 60.0


@dataclass
class Tracking:
    """How runs are shown on W&B.

    Attributes:
        wandb: "auto" goes online where a key is set and the server answers, else offline (files under the run folder, for
            ``wandb sync``); "disabled" writes nothing.
        project: W&B project.
        experiment: group that joins the runs to compare; the name of the run folder by default.
        name: of this run; the name of the run folder by default.
        job_type: kind of run, for example "pretrain", "fold" or "summary".
    """

    wandb: Literal["auto", "online", "offline", "disabled"] = "auto"
    project: str = "auscult"
    experiment: str | None = None
    name: str | None = None
    job_type: str | None = None


def wandb_logger(tracking: Tracking, folder: Path, config: dict[str, Any]) -> WandbLogger | None:
    """A logger that writes to W&B, or None when it is disabled.

    Args:
        tracking: what the user chose.
        folder: run folder; W&B's own files go into ``wandb/`` there.
        config: shown beside the run.
    """
    mode = decide_mode(tracking.wandb)
    if mode == "disabled":
        return None
    folder.mkdir(parents=True, exist_ok=True)
    if mode == "online":
        import wandb

        logger = _logger(tracking, folder, config, "online")
        try:
            # Starts the run now, where a server that refuses it or stays silent can still be done without.
            _ = logger.experiment
            return logger
        except wandb.Error as error:
            say(f"W&B: {_server()} did not take the run ({error}), so it is written offline; send it later with 'wandb sync'.")
    return _logger(tracking, folder, config, "offline")


def _logger(tracking: Tracking, folder: Path, config: dict[str, Any], mode: WandbMode) -> WandbLogger:
    import wandb

    settings = wandb.Settings(
        init_timeout=INIT_TIMEOUT_S,
        finish_timeout=FINISH_TIMEOUT_S,
        silent=True,
        console="off",
        # An exit hook of our own process is enough; system statistics would add a thread per fold.
        x_disable_stats=True,
    )
    logger = WandbLogger(
        name=tracking.name or folder.name,
        save_dir=str(folder),
        project=tracking.project,
        group=tracking.experiment or folder.name,
        job_type=tracking.job_type,
        log_model=False,
        config=config,
        settings=settings,
        # Not Lightning's own ``offline``, which sets it for everything else that this process runs.
        mode=mode,
    )
    # Lightning hands on an option that W&B dropped and warns of.
    logger._wandb_init.pop("anonymous", None)
    return logger


def log_picture(loggers: Iterable[Logger], name: str, path: Path) -> None:
    """Show the picture in the file ``path`` as ``name`` on W&B, where it is among ``loggers``."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image(name, [str(path)])


@contextmanager
def ended_loggers(loggers: Iterable[Logger]) -> Iterator[None]:
    """End ``loggers`` when the block does, W&B's run too, so that the next run of this process (the next fold) begins its own."""
    status = "failed"
    try:
        yield
        status = "success"
    finally:
        for logger in loggers:
            logger.finalize(status)
            # _experiment: asking for the public ``experiment`` would start a run that never began.
            if isinstance(logger, WandbLogger) and logger._experiment is not None:
                logger._experiment.finish(exit_code=int(status == "failed"))


def decide_mode(wanted: str) -> WandbMode:
    """Choose W&B's mode: the user's word, else WANDB_MODE, else online only with a key and a server that answers."""
    if wanted == "auto":
        wanted = os.environ.get("WANDB_MODE", "auto")
    if wanted in ("disabled", "dryrun", "offline"):
        return "disabled" if wanted == "disabled" else "offline"
    if not _has_key():
        if wanted == "online":
            say("W&B: no key is set (WANDB_API_KEY or 'wandb login'), so the run is written offline.")
        return "offline"
    if not _answers():
        say(f"W&B: {_server()} does not answer, so the run is written offline; send it later with 'wandb sync'.")
        return "offline"
    return "online"


def _server() -> str:
    return os.environ.get("WANDB_BASE_URL", DEFAULT_SERVER)


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        file = os.environ.get("NETRC")
        return netrc.netrc(file).authenticators(urlsplit(_server()).hostname or "") is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _answers() -> bool:
    address = urlsplit(_server())
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        with socket.create_connection((address.hostname or "", port), timeout=CONNECT_TIMEOUT_S):
            return True
    except OSError:
        return False
