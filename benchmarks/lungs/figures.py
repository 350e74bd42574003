"""The figures of packaged predictions: means over the seeds, intervals over patients, and each recipe against the first one."""

from typing import Any

import pandas as pd

from benchmarks.lungs.datasets import Unit
from benchmarks.lungs.packaged import has, seeds_of, unpacked
from benchmarks.lungs.recipes import ALL_RECIPES, DEFAULT
from finetune.compare.paired import differences
from finetune.compare.setting import Setting
from finetune.evaluation.intervals.bootstrap import percentile_interval
from finetune.evaluation.summary import evaluate


def rows_of(package: pd.DataFrame, unit: Unit, resamples: int) -> list[dict[str, Any]]:
    """One row per task and recipe: ``value`` (mean over the seeds), its interval, ``sd_over_seeds``, and the gain over the floor."""
    rows = []
    for name, judged in unit.tasks.items():
        task = judged.task()
        settings = {}
        for recipe, of in ALL_RECIPES.items():
            if not has(package, recipe, name):
                continue
            rule = of.thresholds if task.one_of else None
            oof = {seed: unpacked(package, recipe, name, seed, task) for seed in seeds_of(package)}
            evaluations = [evaluate(table, task, rule, resamples, by_fold=False) for table in oof.values()]
            settings[recipe] = Setting(recipe, [], list(oof), evaluations)
        floor = settings["floor"]
        for recipe, setting in settings.items():
            figure = judged.figure
            groups = setting.evaluations[0].intervals.groups
            against = next(row for row in differences(floor, setting) if row["figure"] == figure)
            rows.append(
                {
                    "task": name,
                    "title": judged.title,
                    "recipe": recipe,
                    "value": setting.figures()[figure],
                    "interval": percentile_interval(setting.draws(figure), groups),
                    "sd_over_seeds": setting.seed_deviation()[figure],
                    "gain": None if recipe == "floor" else against["difference"],
                    "gain_interval": None if recipe == "floor" else against["interval"],
                    "p": None if recipe == "floor" else against["p"],
                    "figures": setting.figures(),
                }
            )
    return rows


def as_json(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Flat: ``macro_auroc``, ``task_2_1``, ``task_1_1`` and so on of the strongest recipe with ``_ci``, ``_sd`` (over seeds), ``_gain``,
    ``_gain_ci`` and ``_p`` (of the gain), ``floor_`` before those of the floor, and ``default_`` before those of the default recipe."""
    figures: dict[str, Any] = {}
    for row in rows:
        key = "macro_auroc" if row["task"] == "wheeze_crackle" else row["task"]
        if row["recipe"] == "floor":
            figures |= {f"floor_{key}": _rounded(row["value"]), f"floor_{key}_ci": _rounded(row["interval"])}
        else:
            key = f"{DEFAULT}_{key}" if row["recipe"] == DEFAULT else key
            figures |= {key: _rounded(row["value"]), f"{key}_ci": _rounded(row["interval"]), f"{key}_sd": _rounded(row["sd_over_seeds"])}
            figures |= {f"{key}_gain": _rounded(row["gain"]), f"{key}_gain_ci": _rounded(row["gain_interval"]), f"{key}_p": row["p"]}
    return figures


def markdown(rows: list[dict[str, Any]]) -> str:
    """The README's table, of the `rows_of` all units."""
    last = ["default recipe"] if any(row["recipe"] == DEFAULT for row in rows) else []
    heads = ["task", "floor", "strongest recipe", "gain", *last]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for name in dict.fromkeys(row["task"] for row in rows):
        of = {row["recipe"]: row for row in rows if row["task"] == name}
        figures = {recipe: cell(row["value"], row["interval"]) for recipe, row in of.items()}
        gain = cell(of["strongest"]["gain"], of["strongest"]["gain_interval"], sign="+")
        cells = [of["floor"]["title"], figures["floor"], figures["strongest"], gain, *(figures.get(DEFAULT, "-") for _ in last)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def cell(value: float | None, interval: tuple[float, float] | None, sign: str = "") -> str:
    """A figure with its interval, as tables have it."""
    if value is None:
        return "-"
    between = "" if interval is None else f" ({interval[0]:{sign}.3f} to {interval[1]:{sign}.3f})"
    return f"{value:{sign}.3f}{between}"


def _rounded(value: Any) -> Any:
    if value is None:
        return None
    return [round(float(each), 4) for each in value] if isinstance(value, tuple | list) else round(float(value), 4)
