"""What a run's folder says about itself."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from common.encoder_file import EncoderFile, load_encoder
from common.errors import UserError
from common.training.metrics_csv import read_metrics
from common.training.run_folder import CONFIG, finished
from pretrain.data import PretrainData
from pretrain.fit import ENCODER
from pretrain.monitor.views import VIEWS
from pretrain.shard_data import ShardData


@dataclass(frozen=True)
class Run:
    """A run of ``pretrain fit`` or ``pretrain stream``.

    Attributes:
        path: the folder.
        config: content of config.yaml.
        metrics: what was logged: epoch, step, metric, value.
        figures: content of finished.json; None where the run has not ended.
        encoder: encoder.pt; None where the run has not ended.
        views: picture of pairs of views, PNG; None where there is none.
    """

    path: Path
    config: dict[str, Any]
    metrics: pd.DataFrame
    figures: dict[str, Any] | None
    encoder: EncoderFile | None
    views: bytes | None

    def last(self, metric: str) -> float | None:
        """The last value of a metric, None where it was never logged."""
        values = self.metrics.loc[self.metrics["metric"] == metric, "value"]
        return None if values.empty else float(values.iloc[-1])

    @property
    def streamed(self) -> bool:
        """Whether its clips came from shards."""
        return "shards" in self.config["data"]

    def data(self) -> PretrainData:
        """Its data module, without a trainer: it can tell who is in which part."""
        return (ShardData if self.streamed else PretrainData)(**self.config["data"])

    @property
    def epochs(self) -> int:
        """Epochs that were finished."""
        return int(self.metrics.loc[self.metrics["metric"] == "train/loss", "epoch"].max()) + 1 if self.last("train/loss") else 0


def read_run(path: str | Path) -> Run:
    """Read a run's folder.

    Raises:
        UserError: there is no such folder, nothing was logged yet, or a file of it does not open.
    """
    path = Path(path)
    if not (path / CONFIG).is_file():
        raise UserError(f"{path} holds no run: expected the folder that 'python -m pretrain fit --out' wrote.")
    config = yaml.safe_load((path / CONFIG).read_text(encoding="utf-8"))
    data = config.get("data") if isinstance(config, dict) else None
    if not isinstance(data, dict) or not {"manifest", "shards"} & data.keys():
        raise UserError(f"{path / CONFIG} is not the configuration of a run of 'python -m pretrain fit' or 'stream'.")
    if not (path / "metrics.csv").is_file():
        raise UserError(f"{path} has no metrics.csv: nothing was logged yet; wait for the first epoch.")
    try:
        figures = finished(path)
    except json.JSONDecodeError as error:
        raise UserError(f"{path / 'finished.json'} is not JSON ({error}): restore it.") from error
    encoder = load_encoder(path / ENCODER) if (path / ENCODER).is_file() else None
    views = (path / VIEWS).read_bytes() if (path / VIEWS).is_file() else None
    return Run(path, config, read_metrics(path / "metrics.csv"), figures, encoder, views)
