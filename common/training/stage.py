"""One training run from the command line: parse, claim the run folder, fit, resume where an earlier start was cut off.

Both stages are a `Stage`: LightningCLI on jsonargparse, so that the typed constructors of the module and the data module are the
schema of the config files.
"""

import gc
import json
import logging
import signal
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import yaml
from jsonargparse.typing import NonNegativeFloat
from pytorch_lightning.callbacks import Checkpoint, RichProgressBar, Timer
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.utilities.exceptions import MisconfigurationException, SIGTERMException

from common import cli as command_line
from common.errors import UserError
from common.files import write_json
from common.progress import say
from common.training.allocator import keep_freed_memory
from common.training.checkpoint import FolderCheckpoint, WholeFiles
from common.training.epoch_sums import EpochSums
from common.training.metrics_csv import MetricsCsv
from common.training.mid_epoch import MidEpochCheckpoint
from common.training.run_folder import BEST, CONFIG, FINISHED, LAST, abandon, claim, finished
from common.training.step_seed import StepSeed
from common.training.stopping import StayStopped
from common.training.tracking import Tracker, Tracking, ended_loggers, start_trackers


@dataclass(frozen=True)
class Stage:
    """What one kind of training run consists of.

    Attributes:
        prog: its command, for messages.
        module: LightningModule class; its constructor is the config's ``model``.
        data: LightningDataModule class; its constructor is the config's ``data``.
        out: default run folder.
        finish: called after fitting with (trainer, module, data module, run folder); writes the results and returns figures.
        monitor: logged metric by which ``best.ckpt`` is chosen, highest first; None keeps only the last.
        job_type: see `Tracking`.
        trainer_defaults: defaults of Lightning's Trainer.
    """

    prog: str
    module: type[pl.LightningModule]
    data: type[pl.LightningDataModule]
    out: str
    finish: Callable[[pl.Trainer, Any, Any, Path], dict[str, Any]]
    monitor: str | None = None
    job_type: str = "train"
    trainer_defaults: dict[str, Any] = field(default_factory=dict, hash=False)

    def fit(self, args: Sequence[str]) -> dict[str, Any]:
        """Run the command with ``args``; returns its figures, those of the earlier run when it had already finished.

        Raises:
            UserError: the run folder holds another run, or training cannot start on this data or these settings.
            SystemExit: the arguments are wrong (2), only help was asked for (0), or SIGTERM came (143).
        """
        _free_accelerator()
        command = self._command(args)
        if command.finished is not None:
            say(f"{command.folder} holds this run, finished: nothing to do.")
            return command.finished
        keep_freed_memory()
        trainer, folder = command.trainer, command.folder
        checkpoint, step = folder / LAST, 0
        if checkpoint.is_file():
            step = torch.load(checkpoint, map_location="cpu", weights_only=True)["global_step"]
            say(f"Going on from step {step} of the run in {folder}.")
            for tracker in (logger for logger in trainer.loggers if isinstance(logger, Tracker)):
                tracker.go_on_from(step)
        command.metrics_csv.forget_after(step)
        try:
            with ended_loggers(trainer.loggers):
                _fit(trainer, command.model, command.datamodule, checkpoint)
                figures = self.finish(trainer, command.model, command.datamodule, folder)
        except (UserError, MisconfigurationException) as error:
            abandon(folder)
            raise error if isinstance(error, UserError) else UserError(f"Training cannot start: {_sentence(error)}") from error
        except torch.OutOfMemoryError as error:
            abandon(folder)
            raise UserError(
                f"The accelerator's memory is too small for data.batch_size {command.datamodule.batch_size}: take a smaller one, "
                "or set data.on_device to never."
            ) from error
        if trainer.is_global_zero:
            write_json(folder / FINISHED, figures)
        return figures

    def parse(self, args: Sequence[str]) -> dict[str, Any]:
        """The resolved config that ``args`` give, as plain values, without making any object."""
        return self._command(args, instantiate=False).plain_config()

    def _command(self, args: Sequence[str], instantiate: bool = True) -> "_StageCommand":
        _silence_known_remarks()
        try:
            return _StageCommand(self, command_line.dashes_to_underscores(args), instantiate)
        except command_line.parsing_errors() as error:
            command_line.refuse_arguments(self.prog, error)
            raise
        except (ValueError, MisconfigurationException) as error:
            raise UserError(f"{self.prog}: {_sentence(error)}") from error


def _fit(trainer: pl.Trainer, model: pl.LightningModule, data: pl.LightningDataModule, checkpoint: Path) -> None:
    try:
        trainer.fit(model, datamodule=data, ckpt_path=str(checkpoint) if checkpoint.is_file() else None)
    except SIGTERMException:
        say(f"Stopped by SIGTERM after step {trainer.global_step}: run the same command again to go on.")
        # What a shell reports of a program that SIGTERM ended.
        raise SystemExit(128 + signal.SIGTERM) from None
    except SystemExit:
        # Lightning makes an exit without a word of an interrupt.
        if not trainer.interrupted:
            raise
    except RuntimeError as error:
        # Lightning's own sentence names the metrics that there are; it comes as a bare RuntimeError.
        if "Early stopping conditioned on metric" in str(error):
            raise UserError(_sentence(error)) from error
        raise
    if trainer.interrupted:
        raise KeyboardInterrupt


def training_time_s(trainer: pl.Trainer) -> float:
    """Seconds of training and validation of a `Stage`'s run, those before a resumption included."""
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    return next(each.time_elapsed("train") for each in callbacks if isinstance(each, Timer))


def _free_accelerator() -> None:
    """Give back what an earlier run of this process (the last fold) kept, or the waveforms of the next one seem not to fit."""
    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()


_PARSERS: dict[Stage, LightningArgumentParser] = {}


class _StageCommand(LightningCLI):
    """LightningCLI that knows run folders."""

    def __init__(self, stage: Stage, args: list[str], instantiate: bool) -> None:
        self.stage = stage
        self.instantiate = instantiate
        self.finished: dict[str, Any] | None = None
        super().__init__(
            stage.module,
            stage.data,
            save_config_callback=None,
            trainer_defaults={
                "logger": True,
                "enable_model_summary": False,
                "use_distributed_sampler": False,
                "log_every_n_steps": 10,
                "num_sanity_val_steps": 0,
                **stage.trainer_defaults,
            },
            seed_everything_default=0,
            parser_kwargs={"prog": stage.prog, "description": _first_line(stage.module), "exit_on_error": False, "allow_abbrev": False},
            args=args,
            run=False,
            auto_configure_optimizers=False,
            # The module describes itself in its checkpoints (see DescribedModule).
            load_from_checkpoint_support=False,
        )

    def setup_parser(self, *args: Any, **kwargs: Any) -> None:
        # A parser takes as long to make as to parse with; the folds of a run have one.
        if self.stage not in _PARSERS:
            super().setup_parser(*args, **kwargs)
            _PARSERS[self.stage] = self.parser
        self.parser = _PARSERS[self.stage]

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--out", type=Path, default=Path(self.stage.out), help="Run folder; an unfinished run in it is resumed.")
        parser.add_argument("--tracking", type=Tracking, default=Tracking(job_type=self.stage.job_type), help="Where the run is shown.")
        parser.add_argument(
            "--checkpoint_minutes",
            type=NonNegativeFloat,
            default=10.0,
            help="Minutes of training after which last.ckpt is written within an epoch too; 0: at the ends of epochs only.",
        )

    def before_instantiate_classes(self) -> None:
        self.folder = Path(self.config["out"])
        if not self.instantiate:
            return
        claim(self.folder, self.plain_config())
        self.finished = finished(self.folder)

    def plain_config(self) -> dict[str, Any]:
        """The resolved config as plain values."""
        # Parsing has checked it, and to check it again takes two thirds of the time of writing it down.
        return json.loads(self.parser.dump(self.config, format="json", skip_unset=False, skip_validation=True))

    def instantiate_classes(self) -> None:
        if not self.instantiate or self.finished is not None:
            return
        try:
            super().instantiate_classes()
        except Exception:
            abandon(self.folder)
            raise

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        config = self.config_init["trainer"]
        _refuse_half_weights(config.get("precision"))
        _refuse_no_training(config)
        plain = yaml.safe_load((self.folder / CONFIG).read_text(encoding="utf-8"))
        self.metrics_csv = MetricsCsv(self.folder / "metrics.csv")
        loggers: list[Any] = [self.metrics_csv]
        if not config.get("fast_dev_run"):
            loggers += start_trackers(self.config_init["tracking"], self.folder, plain)
        extra = config.get("logger")
        loggers += extra if isinstance(extra, list) else [] if isinstance(extra, bool) or extra is None else [extra]
        chosen = config.get("callbacks") or []
        timers = [] if any(isinstance(each, Timer) for each in chosen) else [Timer()]
        callbacks = [*chosen, *timers, StepSeed(), StayStopped(), EpochSums(), *self._checkpoints()]
        if config.get("enable_progress_bar") is not False:
            callbacks.append(RichProgressBar(leave=False, console_kwargs={"stderr": True}))
        plugins = config.get("plugins") or []
        plugins = [*(plugins if isinstance(plugins, list) else [plugins]), WholeFiles()]
        return super().instantiate_trainer(logger=loggers, callbacks=callbacks, plugins=plugins, **kwargs)

    def _checkpoints(self) -> list[Checkpoint]:
        # At the end of the epoch, not of its validation: EarlyStopping counts between the two, and its count belongs into last.ckpt.
        always: dict[str, Any] = {"dirpath": self.folder, "enable_version_counter": False, "save_on_train_epoch_end": True}
        last = FolderCheckpoint(filename=Path(LAST).stem, **always)
        within = MidEpochCheckpoint(self.folder / LAST, self.config_init["checkpoint_minutes"])
        if self.stage.monitor is None:
            return [last, within]
        # The best first: a kill between the two leaves a last.ckpt that makes the same best.ckpt again.
        best = FolderCheckpoint(filename=Path(BEST).stem, monitor=self.stage.monitor, mode="max", **always)
        return [best, last, within]


def _refuse_half_weights(precision: Any) -> None:
    """Refuse a precision in which the weights themselves, the front end's filters among them, are not float32."""
    if precision not in (None, 32, "32", "32-true", "16-mixed", "bf16-mixed"):
        raise UserError(
            f"trainer.precision is {precision!r}, expected 32-true, bf16-mixed or 16-mixed: the front end needs float32 weights."
        )


def _refuse_no_training(config: Any) -> None:
    for name in ("max_epochs", "max_steps"):
        if config.get(name) == 0:
            raise UserError(f"trainer.{name} is 0, expected at least 1: nothing would be trained.")


def _first_line(module: type) -> str:
    return (module.__doc__ or "").strip().partition("\n")[0]


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if text.endswith(".") else f"{text}."


def _silence_known_remarks() -> None:
    """Keep Lightning's advice off the screen where the matter is a choice here, and its notes on every device and seed."""
    for message in (
        ".*does not have many workers.*",
        ".*exists and is not empty.*",
        ".*LightningCLI's args parameter.*",
        ".*is smaller than the logging interval.*",
        ".*module\\(s\\) in eval mode at the start of training.*",
        ".*LeafSpec.*",
        ".*across ranks is zero.*",
        # What is not synchronised is computed alike in all processes.
        ".*sync_dist=True.*",
        ".*have no `val_dataloader`.*",
    ):
        warnings.filterwarnings("ignore", message=message)
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
