"""The metrics of a run as one CSV that a resumed run continues: the local truth beside any tracking service."""

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from common.files import write_text

COLUMNS = ("epoch", "step", "metric", "value")


class MetricsCsv(Logger):
    """Appends ``epoch, step, metric, value`` rows to a file.

    Long rather than wide, since metrics come and go between steps and epochs. Lightning's own CSVLogger deletes the earlier rows
    when a run is resumed.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    @property
    def name(self) -> str:
        return ""

    @property
    def version(self) -> str:
        return ""

    @property
    def save_dir(self) -> str:
        return str(self.path.parent)

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Nothing: the run's config.yaml holds them."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        values = dict(metrics)
        epoch = int(values.pop("epoch", -1))
        if not self.path.exists():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(",".join(COLUMNS) + "\n", encoding="utf-8")
        with self.path.open("a", encoding="utf-8") as file:
            for name, value in values.items():
                file.write(f"{epoch},{-1 if step is None else step},{name},{float(value)!r}\n")

    @rank_zero_only
    def forget_after(self, step: int) -> None:
        """Remove rows logged at or after optimiser step ``step``, from which a resumed run goes on, and a line that a kill cut short."""
        if not self.path.exists():
            return
        header, *rows = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        # As text: numbers that are read and written again may lose their last digit.
        kept = [row for row in rows if row.endswith("\n") and int(row.split(",")[1]) < step]
        write_text(self.path, header + "".join(kept))


def folder_of(trainer: pl.Trainer) -> Path | None:
    """The folder of the run that ``trainer`` trains, where its metrics are; None outside a run from the command line."""
    return next((logger.path.parent for logger in trainer.loggers if isinstance(logger, MetricsCsv)), None)


def read_metrics(path: Path) -> pd.DataFrame:
    """Read what `MetricsCsv` wrote: columns epoch, step, metric, value. A last line that a kill cut short is left out."""
    table = pd.read_csv(path, on_bad_lines="skip", dtype={"metric": str})
    numbers = table[["epoch", "step", "value"]].apply(pd.to_numeric, errors="coerce")
    return table.assign(**{name: numbers[name] for name in numbers})[numbers[["epoch", "step"]].notna().all(axis=1)]
