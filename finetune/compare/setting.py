"""A setting: the runs that differ in their seed alone."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml

from finetune.evaluation.result import Evaluation
from finetune.run_folder import RunFolder

SEED_KEYS = ("seed_everything", "out", "tracking", "config", "checkpoint_minutes")


@dataclass(frozen=True)
class Setting:
    """Runs that differ in their seed alone.

    Attributes:
        name: of the first run's folder.
        runs: their folders.
        seeds: their seeds, as run.json has them.
        evaluations: of each run.
    """

    name: str
    runs: list[str]
    seeds: list[Any]
    evaluations: list[Evaluation]

    def figures(self) -> dict[str, float | None]:
        """Mean over the seeds of every pooled figure; None where a seed lacks it."""
        return {name: None if None in values else float(np.mean(values)) for name, values in self._by_name().items()}

    def seed_deviation(self) -> dict[str, float | None]:
        """Standard deviation over the seeds (ddof 1) of every pooled figure; None with one seed."""
        by_name = self._by_name().items()
        return {name: float(np.std(values, ddof=1)) if len(values) > 1 and None not in values else None for name, values in by_name}

    def draws(self, name: str) -> np.ndarray:
        """Mean over the seeds of a figure in every resample, [R]."""
        return np.mean([evaluation.draws[name] for evaluation in self.evaluations], axis=0)

    def as_json(self) -> dict[str, Any]:
        """For comparison.json."""
        figures = {"figures": self.figures(), "sd_over_seeds": self.seed_deviation()}
        return {"name": self.name, "runs": self.runs, "seeds": self.seeds, **figures}

    def _by_name(self) -> dict[str, list[Any]]:
        flat = [evaluation.pooled.flat() for evaluation in self.evaluations]
        return {name: [figures[name] for figures in flat] for name in flat[0]}


def same_settings(folders: Sequence[RunFolder]) -> list[list[int]]:
    """Indices of the runs of each setting, in the order of their first runs."""
    grouped: dict[str, list[int]] = {}
    for index, folder in enumerate(folders):
        grouped.setdefault(_configuration(folder), []).append(index)
    return list(grouped.values())


def _configuration(folder: RunFolder) -> str:
    """The run's configuration without its seed and folders; the folder itself where it holds no configuration."""
    path = folder.path / "config.yaml"
    if not path.is_file():
        return str(folder.path.resolve())
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    return json.dumps({key: value for key, value in config.items() if key not in SEED_KEYS}, sort_keys=True, default=str)
