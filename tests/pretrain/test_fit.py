"""``python -m pretrain fit`` as a user meets it: what it leaves, how it resumes, how it refuses."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml

from common.encoder_file import load_encoder
from common.encoders import Crnn
from common.encoders.cnn import Cnn2d
from common.errors import UserError
from common.frontends import BandPass
from common.manifest import read_manifest, write_manifest
from pretrain.__main__ import main
from pretrain.fit import STAGE, last_metrics


def last_line(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def test_fit_writes_an_encoder_that_opens_alone_and_says_what_it_saw(
    made: Path, fit: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = fit(tmp_path / "run", "--data.exclude_folds", str(made / "folds.csv"), "--data.exclude_fold", "1")
    assert last_line(capsys) == figures
    file = load_encoder(figures["encoder"])
    folds = pd.read_csv(made / "folds.csv")
    seen = folds[folds["fold"] == 0]
    assert file.patients == sorted(set(seen["patient"])) and file.recordings == sorted(seen["recording"])
    assert (figures["patients"], figures["recordings"], figures["clips"], figures["epochs"]) == (4, 12, 12, 2)
    assert isinstance(file.encoder, Cnn2d) and file.encoder(file.front_end(torch.randn(2, 2000))).shape == (2, 8)
    trained = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["state_dict"]
    for name, value in file.encoder.state_dict().items():
        assert torch.equal(value, trained[f"encoder.{name}"]), name
    metrics = pd.read_csv(tmp_path / "run" / "metrics.csv").groupby("metric")["value"].last()
    assert figures["loss"] == metrics["train/loss"] and figures["val_loss"] == metrics["val/loss"]
    assert {"val/alignment", "val/uniformity", "val/embedding_std", "val/effective_rank", "train/accuracy"} <= set(metrics.index)
    made_with = file.provenance
    assert made_with["config"]["model"]["clip_s"] == 0.5 and made_with["config"]["data"]["manifest"] == "manifest.csv"
    assert str(made) not in json.dumps(made_with)
    assert made_with["metrics"]["train/loss"] == figures["loss"] and made_with["versions"]["torch"]


def test_a_finished_run_is_not_run_again_and_another_is_refused(fit: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = fit(tmp_path / "run", "--trainer.max_epochs", "1")
    written = (tmp_path / "run" / "encoder.pt").stat().st_mtime_ns
    assert fit(tmp_path / "run", "--trainer.max_epochs", "1") == figures
    assert (tmp_path / "run" / "encoder.pt").stat().st_mtime_ns == written
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit:
        fit(tmp_path / "run", "--model.objective.init_args.temperature", "0.5", "--trainer.max_epochs", "1")
    assert exit.value.code == 1
    assert "holds a run with model.objective.init_args.temperature=0.1, not 0.5: choose another --out" in capsys.readouterr().err
    assert (tmp_path / "run" / "encoder.pt").stat().st_mtime_ns == written


def test_killed_midway_and_started_again_it_ends_as_an_undisturbed_run(made: Path, fit: Any, tmp_path: Path) -> None:
    options = ["--trainer.max_epochs", "5", "--model.encoder.init_args.dropout", "0.2", "--data.probe_manifest", str(made / "manifest.csv")]
    options += ["--data.probe_share", "0.4", "--data.probe_every_epochs", "2"]
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    # Slowed down, so that the kill falls between the epochs that it is meant for.
    slow = "import pretrain.simclr as s, time; step = s.SimCLR.training_step\n"
    slow += "s.SimCLR.training_step = lambda *a: (time.sleep(0.15), step(*a))[1]\n"
    arguments = ["fit", "-c", str(made / "tiny.yaml"), "--data.manifest", str(made / "manifest.csv"), "--out", str(killed), *options]
    command = [sys.executable, "-c", f"{slow}from pretrain.__main__ import main; main({arguments!r})"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        expected = fit(undisturbed, *options)
        deadline_s = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline_s:
            if (killed / "last.ckpt").is_file() and _epochs_logged(killed) >= 2:
                break
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        message = process.communicate()[1]
    assert process.returncode == -signal.SIGKILL, message
    reached = torch.load(killed / "last.ckpt", weights_only=True)["global_step"]
    total = torch.load(undisturbed / "last.ckpt", weights_only=True)["global_step"]
    assert 0 < reached < total and not (killed / "encoder.pt").exists()

    resumed = fit(killed, *options)
    assert {**resumed, "encoder": "", "minutes": 0} == {**expected, "encoder": "", "minutes": 0}
    assert (killed / "metrics.csv").read_text() == (undisturbed / "metrics.csv").read_text()
    ended, wanted = (load_encoder(folder / "encoder.pt").encoder.state_dict() for folder in (killed, undisturbed))
    for name, value in wanted.items():
        assert torch.equal(ended[name], value), name


def _epochs_logged(folder: Path) -> int:
    lines = (folder / "metrics.csv").read_text().splitlines()[1:]
    return len({line.split(",")[0] for line in lines})


def test_killed_before_the_first_checkpoint_it_begins_anew(fit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = fit(tmp_path / "undisturbed")

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pretrain.simclr.SimCLR.on_train_epoch_end", killed, raising=False)
        with pytest.raises(SystemExit) as exit:
            fit(tmp_path / "run")
        assert exit.value.code == 130
    assert not (tmp_path / "run" / "last.ckpt").exists() and (tmp_path / "run" / "metrics.csv").is_file()
    assert fit(tmp_path / "run")["loss"] == expected["loss"]
    assert (tmp_path / "run" / "metrics.csv").read_text() == (tmp_path / "undisturbed" / "metrics.csv").read_text()


def test_a_run_does_not_go_on_with_other_clips(made: Path, fit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest, store = tmp_path / "manifest.csv", ["--data.store", str(made / "store")]
    table = read_manifest(made / "manifest.csv")
    write_manifest(manifest, table)
    arguments = ["fit", "-c", str(made / "tiny.yaml"), "--data.manifest", str(manifest), *store, "--out", str(tmp_path / "run")]
    with monkeypatch.context() as patch:
        patch.setattr("pretrain.fit.save_encoder", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(SystemExit):
            main(arguments)
    write_manifest(manifest, table.iloc[1:])
    with pytest.raises(UserError, match=r"manifest\.csv or what is read beside it has changed since this run began"):
        STAGE.fit(arguments[1:])
    assert (tmp_path / "run" / "last.ckpt").is_file()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--model.temprature", "0.2"], 2, "--model.temprature"),
        (["--model.encoder.init_args.chanels", "[8]"], 2, "'chanels' is not accepted"),
        (["--model.lr", "fast"], 2, "model.lr"),
        (["--model.views", "three"], 2, "two_crops"),
        (["--model.encoder", "common.frontends.log_mel.LogMel"], 2, "subclass of Encoder"),
        (["--data.batch_size", "0"], 1, "data.batch_size is 0, expected at least 1"),
        (["--model.objective.init_args.temperature", "0"], 1, "temperature is 0.0"),
        (["--data.manifest", "{made}/none.csv"], 1, "No table at {made}/none.csv"),
        (["--data.manifest", "{made}/folds.csv"], 1, "has no column 'path'"),
        (["--data.exclude_fold", "0"], 1, "go together"),
        (["--trainer.max_epochs", "-1"], 1, "set trainer.max_epochs"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing(
    made: Path, fit: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    with pytest.raises(SystemExit) as exit:
        fit(tmp_path / "run", *(argument.format(made=made) for argument in arguments))
    assert exit.value.code == code
    out, err = capsys.readouterr()
    sentence = err.strip().splitlines()[-1]
    assert sentence.startswith("error: ") and message.format(made=made) in sentence
    assert "Traceback" not in err and out == ""
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "arguments", [["--trainer.precision", "bf16-mixed"], ["--model.optimizer", "lars"], ["--model.views", "same_crop"]]
)
def test_other_ways_to_train(fit: Any, tmp_path: Path, arguments: list[str]) -> None:
    figures = fit(tmp_path / "run", *arguments)
    assert 0 < figures["loss"] < 10
    weights = load_encoder(figures["encoder"]).encoder.state_dict().values()
    assert all(value.dtype in (torch.float32, torch.int64) for value in weights)


def test_help_names_every_option_with_its_meaning_and_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main(["fit", "--help"])
    assert exit.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for part in (
        "Contrastive pretraining of an encoder.",
        "length of a crop, s. (type: float, default: 8.0)",
        "what training lowers: NTXent (SimCLR), SupCon on ``data.labels``, or VICReg.",
        "epochs between probes; the last epoch is always probed. (type: int, default: 1)",
        "fold of it whose held-out patients are never seen. (type: int | null, default: null)",
        "Run folder; an unfinished run in it is resumed.",
    ):
        assert part in text, part


def test_options_override_the_config_down_to_a_part_of_a_part(made: Path) -> None:
    config = STAGE.parse(
        [
            *("-c", str(made / "tiny.yaml"), "--data.manifest", "m.csv", "--model.front_end.init_args.num_mels", "24"),
            *("--model.encoder", "common.encoders.timm_encoder.TimmEncoder", "--model.encoder.init_args.name", "resnet18"),
        ]
    )
    assert config["model"]["front_end"]["init_args"]["num_mels"] == 24
    encoder = config["model"]["encoder"]
    assert encoder["class_path"].endswith("TimmEncoder") and encoder["init_args"]["name"] == "resnet18"
    assert encoder["init_args"]["pretrained"] is False
    assert config["model"]["objective"]["init_args"] == {"temperature": 0.1, "block": None}


def test_a_development_run_needs_no_checkpoint(fit: Any, tmp_path: Path) -> None:
    assert fit(tmp_path / "run", "--trainer.fast_dev_run", "true")["loss"] is None


def test_last_metrics_are_the_last_and_finite(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("epoch,step,metric,value\n0,1,a,1.5\n0,1,b,nan\n1,3,a,2.5\n1,3,c,inf\n")
    assert last_metrics(tmp_path / "metrics.csv") == {"a": 2.5, "b": None, "c": None}
    assert last_metrics(tmp_path / "none.csv") == {}


def test_fit_behind_nested_front_ends_and_at_the_rate_of_a_studio(made: Path, fit: Any, tmp_path: Path) -> None:
    frames = {"sample_rate": 48000, "n_fft": 2048, "hop": 768}
    parts = [
        {"class_path": "common.frontends.LogMel", "init_args": {**frames, "num_mels": 16}},
        {"class_path": "common.frontends.Mfcc", "init_args": {**frames, "num_coefficients": 13}},
    ]
    stacked = {"class_path": "common.frontends.Stacked", "init_args": {"front_ends": parts}}
    nested = {
        "front_end": {"class_path": "common.frontends.BandPass", "init_args": {"f_low_hz": 100, "front_end": stacked}},
        "encoder": {"class_path": "common.encoders.Crnn", "init_args": {"channels": [4, 8], "hidden": 4}},
        "waveform_augmentation": {"class_path": "common.augment.noise.ColouredNoise", "init_args": {"sample_rate": 48000}},
    }
    (tmp_path / "nested.yaml").write_text(yaml.safe_dump({"model": nested}))
    file = load_encoder(fit(tmp_path / "run", "-c", str(tmp_path / "nested.yaml"), "--data.store", str(tmp_path / "store"))["encoder"])
    assert isinstance(file.front_end, BandPass) and isinstance(file.encoder, Crnn)
    assert file.front_end.num_bins == 29 and file.front_end.sample_rate == 48000
    assert file.encoder(file.front_end(torch.randn(2, 24000))).shape == (2, 8)
