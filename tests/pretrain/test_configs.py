"""Every shipped config for pretraining is taken as it is and runs for a step."""

from pathlib import Path

import pytest
import torch

from common.encoder_file import load_encoder
from common.encoders import EfficientAT
from common.manifest import read_manifest, write_manifest
from pretrain.__main__ import main
from pretrain.fit import STAGE

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "configs").glob("*pretrain*.yaml"))


def test_there_are_configs() -> None:
    assert "pretrain.yaml" in {path.name for path in CONFIGS}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_runs_for_a_step(path: Path, made: Path, tmp_path: Path) -> None:
    arguments = ["-c", str(path), "--data.manifest", str(made / "manifest.csv"), "--out", str(tmp_path / "run")]
    assert STAGE.parse(arguments)["model"]["waveform_augmentation"]["init_args"]["steps"]
    write_manifest(tmp_path / "manifest.csv", read_manifest(made / "manifest.csv").iloc[:9])
    small = ["--data.manifest", str(tmp_path / "manifest.csv"), "--data.store", str(made / "store"), "--data.batch_size", "4"]
    limits = ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1", "--trainer.limit_val_batches", "1"]
    quiet = ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false", "--tracking.wandb", "disabled"]
    figures = main(["fit", *arguments, *small, *limits, *quiet, "--model.clip_s", "1.0"])
    assert figures["epochs"] == 1 and figures["loss"] > 0
    assert (tmp_path / "run" / "encoder.pt").is_file()


def test_simclr_goes_on_from_weights_of_audioset(made: Path, tmp_path: Path) -> None:
    """A learning rate of next to nothing leaves what the file gave, under the shipped config."""
    weights = tmp_path / "folder of mine" / "mn04.pt"
    weights.parent.mkdir()
    torch.manual_seed(7)
    given = EfficientAT(0.4)
    torch.save(given.state_dict() | {"classifier.5.bias": torch.zeros(527)}, weights)
    write_manifest(tmp_path / "manifest.csv", read_manifest(made / "manifest.csv").iloc[:9])
    config = ["-c", str(CONFIGS[0].parent / "pretrain_audioset.yaml"), "--model.encoder.init_args.weights", str(weights)]
    small = ["--data.manifest", str(tmp_path / "manifest.csv"), "--data.store", str(made / "store"), "--data.batch_size", "4"]
    small += ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1", "--model.clip_s", "1.0", "--model.lr", "1e-9"]
    quiet = ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false", "--tracking.wandb", "disabled"]
    main(["fit", *config, *small, *quiet, "--out", str(tmp_path / "run")])
    pretrained = load_encoder(tmp_path / "run" / "encoder.pt")
    for (name, found), before in zip(pretrained.encoder.named_parameters(), given.parameters(), strict=True):
        torch.testing.assert_close(found, before, atol=1e-6, rtol=0, msg=name)
    assert pretrained.front_end.sample_rate == 32000
    assert pretrained.provenance["config"]["model"]["encoder"]["init_args"]["weights"] == "mn04.pt"
    assert "folder of mine" not in str(pretrained.provenance)
