"""The report's section on the best epoch of the held-out clips, of a run that looked at them after every epoch."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from common.files import read_csv
from common.page.page import Table, number
from finetune.evaluation.epochs.best_epoch import HELD_OUT_EPOCHS, EpochChoice, compare_epochs
from finetune.evaluation.epochs.epoch_intervals import EpochIntervals, epoch_intervals
from finetune.evaluation.epochs.epoch_probabilities import HELD_OUT_PROBABILITIES, read_epochs
from finetune.evaluation.out_of_fold import OutOfFold
from finetune.report.text import interval
from finetune.run_folder import RunFolder

NONE = EpochIntervals(None, None, None)


@dataclass(frozen=True)
class Choices:
    """Both readings of the epoch.

    Attributes:
        figures: figure -> its value by both; empty for a run that did not look.
        intervals: figure -> their intervals; empty for a run that kept no probabilities of its epochs.
    """

    figures: dict[str, EpochChoice]
    intervals: dict[str, EpochIntervals]

    def of(self, name: str) -> EpochIntervals:
        """The intervals of a figure."""
        return self.intervals.get(name, NONE)


def read_best_epoch(folder: RunFolder, predictions: OutOfFold, resamples: int, seed: int) -> Choices:
    """Both readings, of a run of which every fold has ``held_out_epochs.csv`` and a chosen epoch.

    Args:
        folder: the run.
        predictions: its out-of-fold predictions, for targets and patients.
        resamples: bootstrap draws of the intervals.
        seed: of the draws.
    """
    chosen = {fold: record.get("best_epoch") for fold, record in sorted(folder.fold_records.items())}
    files = {fold: folder.path / f"fold-{fold}" / HELD_OUT_EPOCHS for fold in chosen}
    known = {fold: int(epoch) for fold, epoch in chosen.items() if epoch is not None and files[fold].is_file()}
    if not known or len(known) < len(chosen):
        return Choices({}, {})
    figures = compare_epochs({fold: read_csv(files[fold]) for fold in known}, known, folder.task)
    kept = {fold: files[fold].with_name(HELD_OUT_PROBABILITIES) for fold in known}
    if not all(path.is_file() for path in kept.values()):
        return Choices(figures, {})
    of_folds = {fold: read_epochs(path, predictions.take(np.flatnonzero(predictions.fold == fold))) for fold, path in kept.items()}
    return Choices(figures, epoch_intervals(figures, of_folds, folder.task, resamples, seed))


def best_epoch_table(choices: Choices) -> Table | None:
    """Both figures side by side; None where there are none."""
    if not choices.figures:
        return None
    rows = []
    for name, choice in choices.figures.items():
        between = choices.of(name)
        of_chosen, of_best = (", ".join(map(str, each)) for each in (choice.chosen_epochs, choice.best_epochs))
        chosen = [number(choice.chosen), interval(between.chosen), of_chosen]
        rows.append([choice.title, *chosen, number(choice.best), interval(between.best), of_best])
        rows[-1] += [number(choice.difference), interval(between.difference)]
    best = "Best epoch on the held-out clips (optimistic, as published papers report)"
    folds = len(next(iter(choices.figures.values())).chosen_epochs)
    caption = "Both choices of the epoch" if folds == 1 else f"Both choices of the epoch, mean over {folds} folds"
    between_head = "95 % interval"
    head = ["Figure", "Chosen on validation patients", between_head, "Epoch", best, between_head, "Epoch", "Difference", between_head]
    return Table(caption, head, rows)


def best_epoch_text(choices: Choices) -> list[str]:
    """The headline of both choices for a terminal, one line per figure."""
    lines = []
    for name, choice in choices.figures.items():
        between = choices.of(name)
        chosen, best = f"{number(choice.chosen)} ({interval(between.chosen)})", f"{number(choice.best)} ({interval(between.best)})"
        lines.append(
            f"{choice.title}: {chosen} at the epoch chosen on validation patients, {best} at the best epoch on the held-out clips "
            "(optimistic, as published papers report)."
        )
    return lines


def best_epoch_json(choices: Choices) -> dict[str, Any]:
    """Figure -> both values, their difference, the 95 % intervals of the three, and the epochs of the folds by either."""
    return {
        name: {
            "chosen_on_validation": choice.chosen,
            "best_on_held_out": choice.best,
            "difference": choice.difference,
            "intervals": {
                "chosen_on_validation": choices.of(name).chosen,
                "best_on_held_out": choices.of(name).best,
                "difference": choices.of(name).difference,
            },
            "chosen_epochs": list(choice.chosen_epochs),
            "best_epochs": list(choice.best_epochs),
        }
        for name, choice in choices.figures.items()
    }
