"""What a baseline, and what needs a network, refuses in one sentence."""

from pathlib import Path
from typing import Any

import pytest
from made_baseline import arguments, noise, with_encoder, write_config
from refusals import refusal

from common.encoders import Cnn1d
from common.frontends import LogMel
from finetune.__main__ import main
from finetune.baseline.features import EncoderFeatures


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_config(tmp_path)


def test_what_needs_a_network_refuses_a_baseline_in_one_sentence(made: Path, config: Path, tmp_path: Path, capsys: Any) -> None:
    run, out = str(tmp_path / "run"), tmp_path / "result"
    main(arguments(made, config, tmp_path / "run"))
    manifest = str(made / "manifest.csv")
    for command in (
        ["export", "--run", run],
        ["transfer", "--run", run, "--manifest", manifest],
        ["explain", "--run", run, "--clip", '["c001"]'],
        ["explain", "--run", run, "--manifest", manifest, "--clip", '["c001"]'],
    ):
        said = refusal(capsys, [*command, "--out", str(out)])
        assert f"{run} is a baseline without a network: give a run of 'python -m finetune crossval', or of 'baseline'" in said
        assert not out.exists()


def test_mistakes_end_in_one_sentence(made: Path, config: Path, tmp_path: Path, capsys: Any) -> None:
    bare, spectrogram = with_encoder(tmp_path), {"class_path": "common.frontends.LogMel", "init_args": {"num_mels": 16}}
    out = tmp_path / "run"
    for path, options, code, said in (
        (config, ("--model.classifier.init_args.depth", "3"), 2, "depth"),
        (config, ("--model.classifier.init_args.c", "-1"), 1, "c is -1"),
        (config, ("--model.features.init_args.statistics", "[median]"), 1, "'median' is unknown"),
        (config, ("--data.fold", "1"), 1, "--data.fold is what python -m finetune baseline sets"),
        (config, ("--data.manifest", str(tmp_path / "absent.csv")), 1, "absent.csv"),
        (config, ("--encoder", "x.pt"), 1, "take EncoderFeatures"),
        (bare, (), 1, "has no front_end"),
        (bare, ("--model.features.init_args.encoder_file", "x.pt"), 1, "by --encoder"),
        (bare, ("--model.features.init_args.pooling", "[median]"), 1, "expected one or more of mean"),
    ):
        assert said in refusal(capsys, arguments(made, path, out, *options), code), options
        assert not out.exists(), options
    flat = with_encoder(tmp_path, front_end=spectrogram, encoder={"class_path": "common.encoders.Cnn1d", "init_args": {"num_bins": 16}})
    assert "no axis of frequency" in refusal(capsys, arguments(made, flat, out))
    assert EncoderFeatures(LogMel(num_mels=16), Cnn1d(16), pooling=["mean"]).eval()(noise(8000)).shape == (2, 128)
