"""``python -m finetune seeds``: the same cross-validation with several seeds, to tell chance in training from chance in patients."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from common.cli import own_arguments, own_parser, refuse_arguments
from common.errors import UserError
from common.files import write_csv, write_json
from common.progress import say
from finetune.crossval.command import crossval
from finetune.evaluation.result import Evaluation
from finetune.evaluation.summary import evaluate_predictions
from finetune.run_folder import read_run_folder

PROG = "python -m finetune seeds"
SHOWN = ("macro_auroc", "macro_average_precision", "macro_f1", "icbhi_score")


def seeds(args: Sequence[str]) -> dict[str, Any]:
    """Cross-validate once per seed; ``args`` are those of the command line.

    Writes a run folder ``seed-S`` per seed, and seeds.json and seeds.csv with every figure's deviations.

    Returns:
        figures (name -> see `spread_apart`, those of `SHOWN`), seeds, folds, runs and summary (path).

    Raises:
        UserError: two seeds are alike, or a cross-validation refuses its data or settings.
        SystemExit: the arguments are wrong (2), or only help was asked for (0).
    """
    chosen, out, rest = _own_options(args)
    evaluations = {}
    for seed in chosen:
        run = out / f"seed-{seed}"
        say(f"Seed {seed}")
        crossval([*rest, f"--seed_everything={seed}", f"--out={run}", f"--tracking.experiment={out.resolve().name}-seed-{seed}"])
        folder = read_run_folder(run)
        # The deviations are of the figures themselves; no interval of them is looked at.
        evaluations[seed] = evaluate_predictions(folder.out_of_fold(), folder.task, resamples=1)
    figures = spread_apart(list(evaluations.values()))
    folds = len(next(iter(evaluations.values())).folds)
    write_json(out / "seeds.json", {"seeds": chosen, "folds": folds, "figures": figures})
    write_csv(out / "seeds.csv", pd.DataFrame([{"figure": name, **of_figure} for name, of_figure in figures.items()]))
    for name in (name for name in SHOWN if name in figures and figures[name]["mean"] is not None):
        of_figure = figures[name]
        over = ", ".join(
            f"standard deviation over {what} {of_figure[key]:.3f}"
            for what, key in (("seeds", "sd_over_seeds"), ("folds", "sd_over_folds"))
            if of_figure[key] is not None
        )
        say(f"{name}: {of_figure['mean']:.3f}, {over}")
    return {
        "figures": {name: figures[name] for name in SHOWN if name in figures},
        "seeds": chosen,
        "folds": folds,
        "runs": [str(out / f"seed-{seed}") for seed in chosen],
        "summary": str(out / "seeds.json"),
    }


def spread_apart(evaluations: Sequence[Evaluation]) -> dict[str, dict[str, float | None]]:
    """What seeds and what folds do to every figure.

    With x[s, k] the figure of seed s in fold k, ``mean`` is the mean of all; ``sd_over_seeds`` the standard deviation (n - 1) over s of
    the mean over k: what another training run would change; ``sd_over_folds`` that over k of the mean over s: what other patients change,
    and the models trained without them. A fold in which a seed lacks the figure is left out. ``pooled`` is the mean over seeds of the
    figure of all clips together, ``pooled_sd_over_seeds`` its deviation. None where there is no figure, or one seed or fold only.
    """
    found: dict[str, dict[str, float | None]] = {}
    pooled = [evaluation.pooled.flat() for evaluation in evaluations]
    of_folds = [[scores.flat() for scores in evaluation.folds.values()] for evaluation in evaluations]
    for name in pooled[0]:
        table = np.array([[fold[name] for fold in folds] for folds in of_folds], dtype=float)
        table = table[:, ~np.isnan(table).any(axis=0)]
        together = np.array([figures[name] for figures in pooled], dtype=float)
        found[name] = {
            "mean": float(table.mean()) if table.size else None,
            "sd_over_seeds": _deviation(table.mean(axis=1)) if table.size else None,
            "sd_over_folds": _deviation(table.mean(axis=0)),
            "pooled": None if np.isnan(together).any() else float(together.mean()),
            "pooled_sd_over_seeds": None if np.isnan(together).any() else _deviation(together),
        }
    return found


def _deviation(values: np.ndarray) -> float | None:
    return float(values.std(ddof=1)) if len(values) > 1 else None


def _own_options(args: Sequence[str]) -> tuple[list[int], Path, list[str]]:
    parser = own_parser(
        PROG,
        "Cross-validate on the same folds with several seeds; every seed's run is a run folder in --out. Resumes.",
        "Every option of 'python -m finetune crossval' is taken too; --seed_everything and --tracking.experiment are set per seed.",
    )
    parser.add_argument("--seeds", default="0,1,2", help="whole numbers, joined by commas (default: 0,1,2)")
    parser.add_argument("--out", type=Path, default=Path("runs/seeds"), help="folder of the runs and their summary (default: runs/seeds)")
    own, rest = own_arguments(parser, args)
    try:
        chosen = [int(seed) for seed in own.seeds.split(",")]
    except ValueError as error:
        refuse_arguments(PROG, error)
        raise
    if len(set(chosen)) < len(chosen) or len(chosen) < 2:
        raise UserError(f"--seeds is {own.seeds}: expected two or more different whole numbers, joined by commas.")
    return chosen, own.out, rest
