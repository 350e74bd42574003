"""``python -m finetune search``: settings for each fold, chosen among the patients that it does not hold out (nested cross-validation).

Choosing settings and judging them on the same patients flatters them (Cawley & Talbot 2010). So every fold has a search of its own,
which sees a manifest without the clips that the fold holds out; ``crossval --search`` then trains each fold with its own settings.
"""

import logging
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from common.errors import UserError
from common.files import write_json, write_text
from common.progress import say
from common.training.run_folder import claim
from finetune.fit import STAGE
from finetune.search.chosen import PAGE, RECORD
from finetune.search.inner import write_inner
from finetune.search.options import PROG, search_options
from finetune.search.plan import Plan, make_plan
from finetune.search.space import arguments

TRIALS = 20


def search(args: Sequence[str]) -> dict[str, Any]:
    """Search; ``args`` are those of the command line.

    Returns:
        best (fold -> value and settings), trials (fold -> how many, by state), out and its page.

    Raises:
        UserError: Optuna is not installed, the space, data, folds or encoder do not fit, the database does not work, or all trials fail.
        SystemExit: the arguments are wrong (2), or only help was asked for (0).
    """
    own, rest = search_options(args)
    stage = replace(STAGE, prog=PROG, out="runs/search")
    config = stage.parse(rest)
    plan = make_plan(own, rest, config)
    plan.space.check(lambda more: stage.parse([*rest, *more]))
    if own.sampler == "grid":
        # One without an end is refused before anything is written.
        plan.space.grid()
    try:
        import optuna
    except ImportError as error:
        raise UserError(f"{PROG} needs Optuna, which is not installed: pip install 'auscult[search]'.") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    claim(plan.out, plan.shared)
    write_json(plan.out / RECORD, plan.record())

    from finetune.search.page import render
    from finetune.search.study import database

    with database(own.storage or f"sqlite:///{plan.out / 'study.db'}") as storage:
        found = {fold: _search_fold(plan, fold, storage) for fold in plan.folds_searched}
    write_text(plan.out / PAGE, render(plan.out, plan.record(), plan.space))
    return {
        "best": {str(fold): {"value": of_fold["value"], "settings": of_fold["settings"]} for fold, of_fold in found.items()},
        "trials": {str(fold): of_fold["trials"] for fold, of_fold in found.items()},
        "metric": own.metric,
        "out": str(plan.out),
        "page": str(plan.out / PAGE),
    }


def _search_fold(plan: Plan, fold: int, storage: Any) -> dict[str, Any]:
    """Run what trials of a fold are due; returns the best value and settings, and the number of trials by state."""
    from finetune.search.results import best_settings, trials_table, write_results
    from finetune.search.study import due, open_study, pruner_of, refuse_all_refused, sampler_of
    from finetune.search.trial import Objective, TrialRefused

    own, seed = plan.own, plan.config["seed_everything"]
    folder = plan.out / f"fold-{fold}"
    sampler = sampler_of(own.sampler, plan.space, int(seed) + fold)
    study = open_study(
        storage,
        f"{own.study or plan.out.resolve().name}/fold-{fold}",
        sampler,
        pruner_of(own.pruning, own.prune_after),
        plan.settings_hash(),
    )
    inner = write_inner(folder, plan.table, plan.folds, fold, plan.task, own.inner_folds)
    objective = Objective(
        folder=folder,
        data=inner,
        args=plan.trial_args(fold),
        space=plan.space,
        inner_folds=own.inner_runs,
        metric=own.metric,
        task=plan.task,
        epochs=plan.config["trainer"]["max_epochs"] or 1000,
        prunes=own.pruning != "none",
    )
    wanted = own.trials if own.trials is not None else (None if own.sampler == "grid" else TRIALS)
    while due(study, wanted):
        try:
            study.optimize(objective, n_trials=1, catch=(TrialRefused,))
        except KeyboardInterrupt as stop:
            if isinstance(stop.__cause__, SystemExit):
                raise stop.__cause__ from None
            raise
        refuse_all_refused(study)
    value, settings = best_settings(study, plan.space)
    stage = replace(STAGE, prog=PROG)
    write_results(folder, study, plan.space, own.metric, stage.parse([*plan.rest, *arguments(settings)]))
    states = trials_table(study, plan.space)["state"].value_counts().to_dict()
    if states.get("running"):
        say(f"Fold {fold}: {states['running']} trials run elsewhere or were killed less than two minutes ago; run again to take them up.")
    say(f"Fold {fold}: the best of {sum(states.values())} trials has an inner {own.metric} of {value:.3f}.")
    return {"value": value, "settings": settings, "trials": {str(state): int(count) for state, count in states.items()}}
