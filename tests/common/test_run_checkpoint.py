"""The best score survives a run folder that is moved before the run is resumed."""

from pathlib import Path

import torch

from common.training.checkpoint import FolderCheckpoint


def test_the_best_score_survives_a_moved_folder(tmp_path: Path) -> None:
    before = FolderCheckpoint(dirpath=tmp_path / "before", filename="best", monitor="val/score", mode="max")
    file = f"{before.dirpath}/best.ckpt"
    before.best_model_score = before.kth_value = torch.tensor(0.9)
    before.best_model_path = before.kth_best_model_path = file
    before.best_k_models = {file: torch.tensor(0.9)}
    state = before.state_dict()
    assert str(tmp_path) not in repr(state)
    after = FolderCheckpoint(dirpath=tmp_path / "after", filename="best", monitor="val/score", mode="max")
    after.load_state_dict(state)
    moved = f"{after.dirpath}/best.ckpt"
    assert (
        after.best_model_score == 0.9
        and after.best_k_models == {moved: torch.tensor(0.9)}
        and after.best_model_path == moved == after.kth_best_model_path
    )
