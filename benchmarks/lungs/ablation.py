"""What each part of the strongest recipe is worth: its members alone, in pairs and together, and how classes are decided.

Made from the packaged predictions of the members, which are stacked again as ``finetune ensemble --rule stacked`` does.
"""

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.lungs.datasets import Unit
from benchmarks.lungs.figures import cell
from benchmarks.lungs.packaged import seeds_of, unpacked
from benchmarks.lungs.recipes import MEMBERS, RECIPES
from finetune.compare.paired import differences
from finetune.compare.setting import Setting
from finetune.ensemble.combine import fit_stack
from finetune.evaluation.intervals.bootstrap import percentile_interval
from finetune.evaluation.summary import evaluate
from finetune.evaluation.thresholds.per_label import Rule
from finetune.tasks.base import Task

# How classes that exclude each other are decided otherwise than by the strongest recipe.
OTHER_RULES: dict[Rule, str] = {"equal": "the most probable class", "score": "a threshold per class"}
TITLES = {"floor": "last layer", "layers": "earlier layers", "events": "network over frames"}


def ablation(package: pd.DataFrame, members: pd.DataFrame, unit: Unit, resamples: int) -> list[dict[str, Any]]:
    """One row per task and variant: ``value`` (mean over the seeds) with its ``interval``, and ``difference`` to all members together.

    Args:
        package: of the recipes, see `benchmarks.lungs.packaged`.
        members: of the members that are no recipe by themselves.
        unit: whose tasks are judged.
        resamples: bootstrap draws over patients.
    """
    joined = package.merge(members, on="clip_id", validate="one_to_one")
    strongest = RECIPES["strongest"]
    # All together come first: the others are compared with them.
    parts = [members for size in (len(MEMBERS), 1, 2) for members in combinations(MEMBERS, size)]
    rows = []
    for name, judged in unit.tasks.items():
        task, whole = judged.task(), None
        variants = [(" + ".join(TITLES[member] for member in part), part, strongest.thresholds) for part in parts]
        if task.one_of:
            variants += [(title, tuple(MEMBERS), rule) for rule, title in OTHER_RULES.items()]
        for title, part, rule in variants:
            tables = [_stacked(joined, part, name, seed, task) for seed in seeds_of(package)]
            evaluations = [evaluate(table, task, rule if task.one_of else None, resamples, by_fold=False) for table in tables]
            setting = Setting(title, [], seeds_of(package), evaluations)
            whole = whole or setting
            against = next(row for row in differences(whole, setting) if row["figure"] == judged.figure)
            interval = percentile_interval(setting.draws(judged.figure), setting.evaluations[0].intervals.groups)
            value = setting.figures()[judged.figure]
            compared = {"difference": against["difference"], "difference_interval": against["interval"]} if setting is not whole else {}
            rows.append({"task": name, "title": judged.title, "variant": title, "value": value, "interval": interval, **compared})
    return rows


def ablation_table(rows: list[dict[str, Any]]) -> str:
    """Markdown: a line per variant, a column per task; behind a figure the difference to all members together."""
    titles = {row["task"]: row["title"] for row in rows}
    lines = ["| " + " | ".join(["what", *titles.values()]) + " |", "|---" * (1 + len(titles)) + "|"]
    for variant in dict.fromkeys(row["variant"] for row in rows):
        of_task = {row["task"]: row for row in rows if row["variant"] == variant}
        lines.append("| " + " | ".join([variant, *(_cell(of_task.get(name)) for name in titles)]) + " |")
    return "\n".join(lines) + "\n"


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return "-"
    if "difference" not in row:
        return cell(row["value"], row["interval"])
    return f"{cell(row['value'], None)}: {cell(row['difference'], row['difference_interval'], sign='+')}"


def _stacked(package: pd.DataFrame, members: tuple[str, ...], name: str, seed: int, task: Task) -> pd.DataFrame:
    """The members' out-of-fold predictions as one table; what stacks them is fitted, for each fold, on the others."""
    tables = [unpacked(package, member, name, seed, task) for member in members]
    if len(tables) == 1:
        return tables[0]
    columns = [f"prob_{label}" for label in task.labels]
    probabilities = np.stack([table[columns].to_numpy() for table in tables])
    targets = tables[0][[f"target_{label}" for label in task.labels]].to_numpy(float)
    fold, joined = tables[0]["fold"].to_numpy(), np.empty_like(probabilities[0])
    for held_out in np.unique(fold):
        others = fold != held_out
        joined[~others] = fit_stack(targets[others], probabilities[:, others], task.one_of)(probabilities[:, ~others])
    return tables[0].assign(**dict(zip(columns, joined.T, strict=True)))
