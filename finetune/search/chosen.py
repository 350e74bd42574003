"""The settings that a search chose for each fold, read by ``crossval --search``."""

import json
from pathlib import Path
from typing import Any

from common.errors import UserError

RECORD, PAGE, SETTINGS, BEST_CONFIG = "search.json", "search.html", "settings.json", "best.yaml"
FORMAT = "auscult.search/1"


def read_chosen(folder: str | None, num_folds: int, folds_hash: str) -> dict[int, dict[str, Any]]:
    """Fold -> settings (key of the config -> value) that its search chose; empty without a folder.

    Args:
        folder: that ``finetune search --out`` wrote.
        num_folds: K.
        folds_hash: of the folds that shall be run. Settings chosen with other folds have seen what these hold out.

    Raises:
        UserError: there is no finished search of every fold on these folds.
    """
    if folder is None:
        return {}
    path = Path(folder)
    if not (path / RECORD).is_file():
        raise UserError(f"No search at {path}: expected the folder that 'python -m finetune search --out' wrote.")
    if json.loads((path / RECORD).read_text(encoding="utf-8"))["folds_hash"] != folds_hash:
        raise UserError(f"The search in {path} divided the patients into other folds, so it may have seen held-out ones: search again.")
    chosen = {}
    for fold in range(num_folds):
        file = path / f"fold-{fold}" / SETTINGS
        if not file.is_file():
            raise UserError(
                f"{path} has no settings for fold {fold}: run 'python -m finetune search' to its end, for all folds (without --fold)."
            )
        chosen[fold] = json.loads(file.read_text(encoding="utf-8"))
    return chosen
