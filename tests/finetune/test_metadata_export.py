"""Files of several streams: one vocabulary for folds, one row for the members of an ensemble, none for a run without metadata."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from made_metadata import arguments, description, stream, write_told
from refusals import refusal

from common.manifest import read_manifest
from finetune.__main__ import main


@pytest.fixture(scope="module")
def told(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_told(tmp_path_factory.mktemp("told"), made)


def test_folds_of_different_vocabularies_share_the_codes_of_the_file() -> None:
    """A value that a fold was not trained on is unknown to it, whatever its code in the file's vocabulary."""
    metadata = stream().eval()
    wider = metadata.with_vocabularies({"sex": ["D", "F", "M"]})
    rows = torch.tensor([[4.0, code] for code in (0.0, 1.0, 2.0, torch.nan)])
    own = torch.tensor([[4.0, code] for code in (torch.nan, 0.0, 1.0, torch.nan)])
    torch.testing.assert_close(wider(rows), metadata(own))


def test_a_file_without_metadata_refuses_them(finished_run: tuple[Path, dict], told: Path, tmp_path: Path, capsys: Any) -> None:
    main(["export", "--run", str(finished_run[0]), "--out", str(tmp_path / "model.pt"), "--per-fold", "false"])
    assert description(tmp_path / "model.pt")["metadata"] is None
    path = read_manifest(told / "manifest.csv")["path"][0]
    known = ["--metadata", str(told / "manifest.csv"), "--metadata-key", "recording"]
    args = ["predict", "--model", str(tmp_path / "model.pt"), "--input", path, "--out", str(tmp_path / "out.csv"), *known]
    assert "was trained without metadata" in refusal(capsys, args)


def test_an_ensemble_takes_the_metadata_of_its_members_which_must_read_one_row_alike(told: Path, tmp_path: Path, capsys: Any) -> None:
    names = ("one", "other", "strange")
    settings = ([], ["--seed_everything", "1"], ["--model.metadata.init_args.vocabularies", "{sex: [F, M], ward: [north, south, west]}"])
    for name, more in zip(names, settings, strict=True):
        once = ["--trainer.max_epochs", "1", "--skip-near-duplicates"]
        main(arguments(told, "crossval", tmp_path / name, *once, *more))
        main(["export", "--run", str(tmp_path / name), "--out", str(tmp_path / f"{name}.pt"), "--per_fold", "false"])
    for last in names[1:]:
        main(["ensemble", "--runs", json.dumps([str(tmp_path / "one"), str(tmp_path / last)]), "--out", str(tmp_path / f"with-{last}")])
    main(["export", "--run", str(tmp_path / "with-other"), "--out", str(tmp_path / "both.pt"), "--per_fold", "false"])
    one, other, both = (torch.jit.load(str(tmp_path / f"{name}.pt")) for name in ("one", "other", "both"))
    waveform, rows = 0.1 * torch.randn(2, 5000), torch.tensor([[21.0, 1.0, 0.0], [float("nan"), 0.0, 1.0]])
    lengths = torch.full((2,), 5000)
    expected = (one(waveform, 4000, lengths, rows)[0] + other(waveform, 4000, lengths, rows)[0]) / 2
    torch.testing.assert_close(both(waveform, 4000, lengths, rows)[0], expected)
    assert list(both.metadata_columns) == list(one.metadata_columns) == ["bmi", "sex", "ward"]
    assert not torch.allclose(both(waveform, 4000, lengths)[0], expected, atol=1e-4)
    said = refusal(capsys, ["export", "--run", str(tmp_path / "with-strange"), "--out", str(tmp_path / "strange.pt")])
    assert "['north', 'south', 'west']" in said and "must read one row alike" in said
