"""``python -m pretrain stream``: who is seen, what is read, and how a run that was cut within an epoch goes on."""

import json
import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from cut_runs import OFTEN, at_step, interrupt, same_run

from common.__main__ import main as common_main
from common.encoder_file import load_encoder
from common.encoders.cnn import Cnn2d
from common.errors import UserError
from common.frontends.log_mel import LogMel
from common.manifest import data_hash
from pretrain.__main__ import main
from pretrain.data import PretrainData
from pretrain.objectives import NTXent
from pretrain.shard_data import ShardData
from pretrain.simclr import SimCLR

Stream = Callable[..., Any]


@pytest.fixture(scope="module")
def shards(made: Path) -> Path:
    """The made patients in several shards."""
    out = made / "shards"
    figures = common_main(
        ["shard", "--manifest", str(made / "manifest.csv"), "--out", str(out), "--sample-rate", "4000", "--shard-mb", "0.05"]
    )
    assert figures["shards"] > 3
    return out


@pytest.fixture
def stream(made: Path, shards: Path) -> Stream:
    """Runs ``python -m pretrain stream`` on the shards into the folder ``out``, with further arguments; returns its figures."""

    def run(out: Path, *args: str) -> Any:
        common = ["-c", str(made / "tiny.yaml"), "--data.shards", str(shards), "--data.workers", "0", "--out", str(out)]
        return main(["stream", *common, *args])

    return run


def prepared(kind: type[PretrainData], source: Path, views: Any = "two_crops", **arguments: Any) -> Any:
    data = kind(str(source), **{"batch_size": 4, **arguments})
    model = SimCLR(LogMel(num_mels=16), Cnn2d(channels=[4, 8]), clip_s=0.5, views=views)
    data.trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    data.trainer.strategy.connect(model)
    data.setup("fit")
    return data


def test_the_same_patients_as_from_the_manifest(made: Path, shards: Path) -> None:
    options: dict[str, Any] = {"validation_share": 0.25, "exclude_folds": str(made / "folds.csv"), "exclude_fold": 1}
    options |= {"probe_manifest": str(made / "manifest.csv"), "probe_share": 0.3}
    streamed, gathered = prepared(ShardData, shards, **options), prepared(PretrainData, made / "manifest.csv", **options)
    for name in ("num_train", "num_validation", "patients", "recordings"):
        assert getattr(streamed, name) == getattr(gathered, name), name
    assert data_hash(streamed.seen) == data_hash(gathered.seen)
    for name, first, last in (("train", 0, streamed.num_train), ("validation", streamed.num_train, len(streamed.seen))):
        assert set(streamed.table["clip_id"][first:last]) == set(gathered.table["clip_id"][first:last]), name
    pd.testing.assert_frame_equal(streamed.probe.table, gathered.probe.table)


def test_held_out_patients_are_never_read(made: Path, shards: Path) -> None:
    folds = pd.read_csv(made / "folds.csv")
    held_out = set(folds[folds["fold"] == 0]["clip_id"])
    data = prepared(ShardData, shards, exclude_folds=str(made / "folds.csv"), exclude_fold=0, workers=0, validation_share=0.0)
    data.trainer.training = True
    heard: set[str] = set()
    for epoch in range(3):
        loader = data.train_dataloader()
        loader.set_epoch(epoch)
        for batch in loader:
            batch = data.on_after_batch_transfer(batch, 0)
            assert torch.equal(batch["recording"], data.codes["recording"][batch["row"]])
            heard |= set(data.table["clip_id"][batch["row"][0].numpy()])
    assert heard == set(data.seen["clip_id"]) == set(folds["clip_id"]) - held_out


@pytest.mark.parametrize("views", ["two_crops", "same_crop"])
def test_batches_have_the_form_and_the_sound_of_the_waveform_store(made: Path, shards: Path, views: Any) -> None:
    streamed, gathered = prepared(ShardData, shards, views, workers=0), prepared(PretrainData, made / "manifest.csv", views)
    for data in (streamed, gathered):
        data.trainer.training = True
    one, other = (data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0) for data in (streamed, gathered))
    assert one.keys() == other.keys()
    assert all(one[name].shape == other[name].shape and one[name].dtype == other[name].dtype for name in one)
    known = gathered.table["clip_id"].tolist()
    for column, clip in enumerate(streamed.table["clip_id"].iloc[one["row"][0].numpy()]):
        row = torch.tensor([known.index(clip)])
        for crops in one["crops"]:
            offsets = torch.arange(int(gathered.clips[row].length) - 2000 + 1)
            windows = gathered.windows(row.repeat(len(offsets)), offsets)
            assert (windows == crops[column]).all(dim=1).any(), "no crop of the clip"


def test_validation_and_probe_clips_sound_as_in_the_waveform_store(made: Path, shards: Path) -> None:
    options: dict[str, Any] = {"validation_share": 0.25, "probe_manifest": str(made / "manifest.csv"), "probe_share": 0.3}
    streamed, gathered = prepared(ShardData, shards, **options), prepared(PretrainData, made / "manifest.csv", **options)
    offset = torch.tensor([7])
    for place in range(streamed.num_train, len(streamed.table)):
        clip = streamed.table["clip_id"][place]
        row = gathered.table.index[gathered.table["clip_id"] == clip][0]
        one = streamed.windows(torch.tensor([place]), offset)
        assert torch.equal(one, gathered.windows(torch.tensor([row]), offset)), clip
    with pytest.raises((IndexError, RuntimeError)):
        streamed.windows(torch.tensor([0]), offset)
    assert prepared(ShardData, shards, validation_share=0.25, validation_clips=3).num_validation == 3


def test_stream_writes_an_encoder_that_says_what_it_saw(made: Path, stream: Stream, tmp_path: Path) -> None:
    options = ["--data.exclude_folds", str(made / "folds.csv"), "--data.exclude_fold", "1", "--data.workers", "2"]
    figures = stream(tmp_path / "run", *options)
    folds = pd.read_csv(made / "folds.csv")
    seen = folds[folds["fold"] == 0]
    file = load_encoder(figures["encoder"])
    assert file.patients == sorted(set(seen["patient"])) and file.recordings == sorted(seen["recording"])
    assert (figures["clips"], figures["epochs"]) == (12, 2) and figures["val_loss"] > 0
    assert file.provenance["config"]["data"]["shards"] == "shards"
    assert stream(tmp_path / "run", *options) == figures


@pytest.mark.parametrize(("workers", "step"), [("0", 6), ("2", 7), ("0", 8)])
def test_cut_within_an_epoch_it_ends_as_an_undisturbed_run(
    stream: Stream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: str, step: int
) -> None:
    options = ["--trainer.max_epochs", "3", "--data.workers", workers, "--model.encoder.init_args.dropout", "0.2"]
    options += ["--trainer.log_every_n_steps", "1"]
    stream(tmp_path / "undisturbed", *options)
    with monkeypatch.context() as patch:
        patch.setattr(SimCLR, "training_step", at_step(step, interrupt))
        with pytest.raises(SystemExit):
            stream(tmp_path / "cut", *options, *OFTEN)
    reached = torch.load(tmp_path / "cut" / "last.ckpt", weights_only=True)
    # 18 clips in batches of 4 are 4 steps an epoch.
    assert reached["global_step"] == step and reached["epoch"] == (step - 1) // 4
    stream(tmp_path / "cut", *options)
    same_run(tmp_path / "cut", tmp_path / "undisturbed")


def test_sigterm_saves_and_the_run_goes_on_there(stream: Stream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream(tmp_path / "undisturbed")
    with monkeypatch.context() as patch:
        patch.setattr(SimCLR, "training_step", at_step(5, lambda: os.kill(os.getpid(), signal.SIGTERM)))
        with pytest.raises(SystemExit) as exit:
            stream(tmp_path / "cut")
        assert exit.value.code == 143
    assert torch.load(tmp_path / "cut" / "last.ckpt", weights_only=True)["global_step"] == 6
    stream(tmp_path / "cut")
    same_run(tmp_path / "cut", tmp_path / "undisturbed")


def test_the_batch_with_a_bad_loss_names_its_clips(
    made: Path, shards: Path, stream: Stream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = NTXent.__call__
    monkeypatch.setattr(NTXent, "__call__", lambda self, pairs: loss(self, pairs) * float("nan"))
    with pytest.raises(SystemExit):
        stream(tmp_path / "run")
    saved = torch.load(tmp_path / "run" / "bad_batch.pt", weights_only=True)
    data = prepared(ShardData, shards, validation_share=0.25)
    assert saved["part"] == "training" and saved["rows"].shape == (2, 4)
    for row, names in zip(saved["rows"], saved["clip_ids"], strict=True):
        assert names == data.table["clip_id"][row.numpy()].tolist() and set(names) <= set(data.table["clip_id"][: data.num_train])


def test_the_report_shows_a_streamed_run(made: Path, shards: Path, stream: Stream, tmp_path: Path) -> None:
    moved = shutil.copytree(shards, tmp_path / "moved")
    stream(tmp_path / "run", "--data.shards", str(moved), "--data.validation_share", "0.5")
    figures = main(["report", "--run", str(tmp_path / "run")])
    page = (tmp_path / "run" / "report.html").read_text()
    # The validation clips, out of the shards.
    assert figures["map_clips"] == 12 and page.count("<img") == 3 and "12 validation clips" in page
    finished = json.loads((tmp_path / "run" / "finished.json").read_text())
    assert figures["leak_patient"] == pytest.approx(finished["val_leak_patient"], abs=1e-6)
    told = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page))
    assert told["Shards"] == "moved" and told["To train on"] == told["For validation"] == "12 clips of 4 patients"
    # 24 clips of 0.9 s.
    assert finished["hours"] == pytest.approx(24 * 0.9 / 3600, abs=1e-4)
    other = main(
        ["report", "--run", str(tmp_path / "run"), "--manifest", str(made / "manifest.csv"), "--out", str(tmp_path / "other.html")]
    )
    assert other["map_clips"] == 24
    shutil.rmtree(moved)
    assert main(["report", "--run", str(tmp_path / "run")])["map_clips"] == 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert "No map: No shards at" in page and "the shards are not where they were" in page


def test_the_report_shows_what_a_streamed_run_probed(made: Path, stream: Stream, tmp_path: Path) -> None:
    probe = ["--data.probe_manifest", str(made / "manifest.csv"), "--data.probe_share", "0.5"]
    stream(tmp_path / "run", *probe)
    figures = main(["report", "--run", str(tmp_path / "run")])
    finished = json.loads((tmp_path / "run" / "finished.json").read_text())
    assert figures["map_clips"] == 12 and figures["leak_patient"] == pytest.approx(finished["val_leak_patient"], abs=1e-6)
    assert "12 probed clips" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data.shards", "{made}"], "No shards at {made}: expected index.json there"),
        (["--model.front_end.init_args.sample_rate", "8000"], "hold samples at 4000 Hz, but the front end takes 8000 Hz"),
        (["--data.workers", "-1"], "data.workers is -1, expected at least 0"),
        (["--model.objective", "pretrain.objectives.SupCon"], "SupCon needs labels, which shards do not hold"),
        (["--model.views", "two_recordings"], "which a stream of single clips does not have"),
        (["--data.shuffle_clips", "0"], "data.shuffle_clips is 0, expected at least 1"),
        (["--data.exclude_fold", "0"], "go together"),
        (["--data.probe_manifest", "{made}/manifest.csv"], "nobody is left to pretrain on"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing(
    made: Path, stream: Stream, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    extra = ["--model.waveform_augmentation", "null"] if "8000" in arguments else []
    with pytest.raises(SystemExit) as end:
        stream(tmp_path / "run", *(argument.format(made=made) for argument in arguments), *extra)
    assert end.value.code == 1
    sentence = capsys.readouterr().err.strip().splitlines()[-1]
    assert sentence.startswith("error: ") and message.format(made=made) in sentence
    assert not (tmp_path / "run").exists()


def test_a_run_does_not_go_on_with_other_clips(made: Path, shards: Path, stream: Stream, tmp_path: Path) -> None:
    folds = tmp_path / "folds.csv"
    table = pd.read_csv(made / "folds.csv")
    table.to_csv(folds, index=False)
    options = ["--data.exclude_folds", str(folds), "--data.exclude_fold", "0"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pretrain.fit.save_encoder", lambda *_: interrupt())
        with pytest.raises(SystemExit):
            stream(tmp_path / "run", *options)
    table.assign(fold=1 - table["fold"]).to_csv(folds, index=False)
    from pretrain.stream import STAGE

    with pytest.raises(UserError, match="has changed since this run began"):
        STAGE.fit(
            ["-c", str(made / "tiny.yaml"), "--data.shards", str(shards), "--data.workers", "0", "--out", str(tmp_path / "run"), *options]
        )
