"""The demo goes the whole way, at a size that takes seconds."""

import json
import re
from pathlib import Path

import pytest
import torch

from benchmarks import demo


def test_the_demo_ends_with_a_table_a_model_that_opens_and_its_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"PATIENTS": 12, "CLIPS_PER_PATIENT": 4, "CLIP_S": 1.0, "PRETRAIN_EPOCHS": 1, "FINETUNE_EPOCHS": 1}.items():
        monkeypatch.setattr(demo, name, value)
    demo.main(["--out", str(tmp_path / "out")])
    printed = capsys.readouterr().out
    figures = json.loads(printed.splitlines()[-1])
    assert set(figures) == {"minutes", "folds", "macro_auroc", "report", "model"}
    assert figures["folds"] == 3 and 0 <= figures["macro_auroc"] <= 1
    assert Path(figures["report"]).is_file()
    assert re.search(r"^ *pooled +48 +12 +0\.\d{3}", printed, re.MULTILINE), printed
    three_lines = re.search(r"( +import torch\n.*\n.*\n)", printed)
    assert three_lines is not None
    scope: dict[str, torch.Tensor] = {}
    exec("\n".join(line.strip() for line in three_lines[1].splitlines()), scope)
    assert scope["probabilities"].shape == (1, 3) and scope["flags"].shape == (1,)


def test_a_folder_that_is_no_take_home_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        demo.main(["--data", str(tmp_path / "nothing"), "--out", str(tmp_path / "out")])
    assert stopped.value.code == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.strip().splitlines()[-1].startswith("error: ")
