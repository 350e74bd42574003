"""What a fold's search leaves: a table and a picture of its trials, and the best settings as a config."""

from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import yaml
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter
from optuna.trial import TrialState

from common.errors import UserError
from common.files import atomic_path, write_csv, write_json, write_text
from finetune.search.chosen import BEST_CONFIG, SETTINGS
from finetune.search.space import Range, Space
from finetune.search.study import REFUSED

TRIALS = "trials.csv"


def best_settings(study: optuna.Study, space: Space) -> tuple[float, dict[str, Any]]:
    """Value of the best trial and its settings; of equal ones the first."""
    done = [trial for trial in study.get_trials(deepcopy=False) if trial.state == TrialState.COMPLETE]
    if not done:
        raise UserError(f"No trial of {study.study_name} ran to its end yet: run more (--trials), or without pruning.")
    best = max(done, key=lambda trial: (trial.values[0], -trial.number))
    return best.values[0], space.settings(best.params)


def write_results(folder: Path, study: optuna.Study, space: Space, metric: str, config: dict[str, Any]) -> None:
    """Write trials.csv, trials.png, settings.json and best.yaml.

    Args:
        folder: of the fold's search.
        study: with at least one finished trial.
        space: of the search.
        metric: what the trials' values are.
        config: resolved, with the best settings in it.
    """
    table = trials_table(study, space)
    write_csv(folder / TRIALS, table)
    with atomic_path(folder / "trials.png") as path:
        draw(table, space, metric).savefig(path, dpi=100)
    value, settings = best_settings(study, space)
    write_json(folder / SETTINGS, settings)
    data = {key: kept for key, kept in config["data"].items() if key not in ("fold", "transductive")}
    best = {key: kept for key, kept in config.items() if key not in ("out", "tracking", "config")} | {"data": data}
    head = f"# The best of {len(table)} trials: inner {metric} {value:.4f}.\n"
    write_text(folder / BEST_CONFIG, head + yaml.safe_dump(best, sort_keys=False))


def trials_table(study: optuna.Study, space: Space) -> pd.DataFrame:
    """One row per trial: number, state, value, epochs (reported to the pruner), seconds, one column per key of the space, refused (why)."""
    rows = []
    for trial in study.get_trials(deepcopy=False):
        rows.append(
            {
                "trial": trial.number,
                "state": trial.state.name.lower(),
                "value": trial.values[0] if trial.state == TrialState.COMPLETE else None,
                "epochs": len(trial.intermediate_values) or None,
                "seconds": round(trial.duration.total_seconds(), 1) if trial.duration else None,
                **{each.key: trial.params.get(each.key) for each in space.dimensions},
                "refused": trial.user_attrs.get(REFUSED),
            }
        )
    return pd.DataFrame(rows).astype({"epochs": "Int64"})


def draw(table: pd.DataFrame, space: Space, metric: str) -> Figure:
    """Values of the trials in their order, with the best so far, and against each key of the space."""
    keys = [each.key for each in space.dimensions]
    columns = min(3, len(keys) + 1)
    lines = -(-(len(keys) + 1) // columns)
    figure = Figure(figsize=(4 * columns, 3 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    done = table[table["state"] == "complete"]
    axes[0].plot(done["trial"], done["value"], "o", label="trial")
    axes[0].step(done["trial"], done["value"].cummax(), where="post", color="grey", label="best so far")
    for number in table["trial"][table["state"] == "pruned"]:
        axes[0].axvline(number, color="lightgrey", linewidth=0.5, zorder=0)
    axes[0].set(xlabel="trial (grey lines: pruned)", ylabel=f"inner {metric}")
    axes[0].xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].legend(fontsize="small")
    for axis, dimension in zip(axes[1:], space.dimensions, strict=False):
        values = done[dimension.key]
        if pd.api.types.is_numeric_dtype(values):
            axis.plot(values, done["value"], "o")
            if isinstance(dimension, Range) and dimension.log:
                # All that was searched, not the little that was tried, where ticks would lie on each other.
                axis.set(xscale="log", xlim=(dimension.low / 1.1, dimension.high * 1.1))
                axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
                axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
                axis.xaxis.set_minor_formatter(NullFormatter())
        else:
            names, places = np.unique(values.astype(str), return_inverse=True)
            axis.plot(places, done["value"], "o")
            axis.set_xticks(range(len(names)), [name if len(name) < 30 else f"{name[:29]}…" for name in names], fontsize="small")
        axis.set_xlabel(dimension.key)
    for axis in axes[len(keys) + 1 :]:
        axis.set_visible(False)
    return figure
