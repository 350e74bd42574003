"""The page of a search: what was chosen for each fold, every trial, and by which clips. How it looks is in report.html."""

import json
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd

from common.files import read_csv
from common.page.drawing import STYLE, data_uri
from common.page.page import MISSING, Picture, Table, fill, number
from finetune.search.chosen import SETTINGS
from finetune.search.results import TRIALS, draw
from finetune.search.space import Space

# Rows of a fold's table; trials.csv has all.
SHOWN = 40
STATES = {"complete": "ran to their end", "pruned": "pruned", "fail": "refused or interrupted"}


def render(out: Path, record: dict[str, Any], space: Space) -> str:
    """The page as one HTML text that needs no other file and no network, on every fold in ``out`` that has finished trials.

    From the files of the folds, since they may have been searched one by one, or by several workers.

    Args:
        out: folder of the search.
        record: content of its search.json.
        space: what was searched.
    """
    folders = sorted(out.glob("fold-*"), key=lambda folder: int(folder.name.removeprefix("fold-")))
    found = {folder.name: folder for folder in folders if (folder / SETTINGS).is_file()}
    trials = {name: read_csv(folder / TRIALS) for name, folder in found.items()}
    settings = {name: json.loads((folder / SETTINGS).read_text(encoding="utf-8")) for name, folder in found.items()}
    metric = str(record["metric"])
    return fill(
        "finetune.search",
        name=out.resolve().name,
        metric=metric,
        inner_folds=record["inner_folds"],
        inner_runs=record["inner_runs"],
        chosen=_chosen_table(trials, settings, space, metric),
        folds=[(name, _picture(table, space, metric, name), _trial_table(table, space)) for name, table in trials.items()],
        facts=_facts(record, space),
    )


def _chosen_table(trials: dict[str, pd.DataFrame], settings: dict[str, dict[str, Any]], space: Space, metric: str) -> Table:
    """One column per fold: the best value, how many trials there were, and the settings."""
    rows = [[f"Inner {metric}", *(number(table["value"].max()) for table in trials.values())]]
    for state in ("complete", "pruned", "fail"):
        rows.append([f"Trials: {STATES[state]}", *(number(int((table["state"] == state).sum())) for table in trials.values())])
    rows += [[each.key, *(_value(of_fold[each.key]) for of_fold in settings.values())] for each in space.dimensions]
    return Table("Chosen for each fold", ["", *trials], rows)


def _trial_table(table: pd.DataFrame, space: Space) -> Table:
    """The trials, the best first, then those without a value."""
    rows, keys = [], [each.key for each in space.dimensions]
    for row in table.sort_values(["value", "trial"], ascending=[False, True]).head(SHOWN).to_dict("records"):
        seconds = MISSING if pd.isna(row["seconds"]) else f"{row['seconds']:.0f}"
        epochs = MISSING if pd.isna(row["epochs"]) else f"{row['epochs']:.0f}"
        state = str(row["state"]) if pd.isna(row["refused"]) else f"refused: {row['refused']}"
        rows.append([str(row["trial"]), number(row["value"]), *(_value(row[key]) for key in keys), epochs, seconds, state])
    head = ["Trial", "Value", *keys, "Epochs", "Seconds", "State"]
    caption = "All trials, the best first" if len(rows) == len(table) else f"The first {len(rows)} of {len(table)} trials, the best first"
    return Table(caption, head, rows)


def _picture(table: pd.DataFrame, space: Space, metric: str, fold: str) -> Picture:
    # Without a grid, beside which the lines of pruned trials could not be told.
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        source = data_uri(draw(table, space, metric))
    return Picture(
        "Values of the trials in their order, and against each setting.",
        source,
        f"{fold}: {len(table)} trials, the best {number(table['value'].max())}; the figures are in {TRIALS}.",
    )


def _facts(record: dict[str, Any], space: Space) -> dict[str, str]:
    tried = {f"Searched: {each.key}": _values(each.key, record["space"]) for each in space.dimensions}
    others = {"Sampler": "sampler", "Pruning": "pruning", "Seed": "seed", "Data hash": "data_hash", "Commit": "git_commit"}
    return tried | {title: str(record.get(key) if record.get(key) is not None else "not recorded") for title, key in others.items()}


def _values(key: str, space: dict[str, dict[str, Any]]) -> str:
    """A dimension in words."""
    of = space[key]
    if "values" in of:
        return ", ".join(_value(value) for value in of["values"])
    how = f", in steps of {_value(of['step'])}" if of["step"] is not None else ", evenly in the logarithm" if of["log"] else ""
    return f"{_value(of['low'])} to {_value(of['high'])}{how}"


def _value(value: Any) -> str:
    """A setting as text."""
    if isinstance(value, float):
        return MISSING if value != value else f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value)
