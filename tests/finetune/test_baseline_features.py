"""What a baseline hears: statistics of spectrograms and pooled maps of encoders, computed once."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from made_baseline import arguments, noise, with_encoder, write_config
from refusals import refusal

from common.encoder_file import save_encoder
from common.encoders import Cnn2d, EfficientAT
from common.frontends import LogMel
from finetune.__main__ import main
from finetune.baseline.features import EncoderFeatures, SpectrogramFeatures


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_config(tmp_path)


def test_statistics_of_a_spectrogram_are_those_of_its_bins() -> None:
    front_end, waveform = LogMel(num_mels=8, normalise="none"), noise(9000)
    pooled = SpectrogramFeatures(front_end, ["mean", "std", "min", "max", "p25"])(waveform).double().numpy()
    for clip, spectrogram in enumerate(front_end(waveform).double().numpy()[:, 0]):
        for index, frames in enumerate(spectrogram):
            ordered = sorted(frames)
            place = 0.25 * (len(frames) - 1)
            below = int(place)
            quartile = ordered[below] + (place - below) * (ordered[below + 1] - ordered[below])
            mean = sum(frames) / len(frames)
            deviation = (sum((frame - mean) ** 2 for frame in frames) / len(frames)) ** 0.5
            expected = [mean, deviation, ordered[0], ordered[-1], quartile]
            assert np.allclose(pooled[clip].reshape(5, 8)[:, index], expected, atol=1e-5)


def test_the_map_of_an_encoder_is_pooled_over_the_whole_clip() -> None:
    torch.manual_seed(0)
    front_end, encoder = LogMel(num_mels=64), EfficientAT(width=0.1).eval()
    features = EncoderFeatures(front_end, encoder, pooling=["mean", "max", "frequency", "embedding"]).eval()
    waveform = noise(12 * 4000)
    with torch.no_grad():
        pooled = features(waveform).numpy()
        spectrogram = front_end(waveform)
        found = encoder.features(spectrogram).numpy()
        embedding = encoder(spectrogram).numpy()
    batch, channels, bins, frames = found.shape
    assert bins > 1 and frames > 10
    for clip in range(batch):
        by_frequency = [found[clip, channel, index].sum() / frames for channel in range(channels) for index in range(bins)]
        mean = [found[clip, channel].sum() / (bins * frames) for channel in range(channels)]
        largest = [max(found[clip, channel].ravel()) for channel in range(channels)]
        assert np.allclose(pooled[clip], [*mean, *largest, *by_frequency, *embedding[clip]], atol=1e-5)


def test_features_are_computed_once_and_only_for_new_clips(made: Path, config: Path, tmp_path: Path, monkeypatch: Any) -> None:
    computed = []
    forward = SpectrogramFeatures.forward
    monkeypatch.setattr(SpectrogramFeatures, "forward", lambda self, waveform: computed.append(1) or forward(self, waveform))
    store = ["--data.store", str(tmp_path / "store")]
    main(arguments(made, config, tmp_path / "one", *store))
    assert len(computed) == 48
    main(arguments(made, config, tmp_path / "two", *store, "--model.classifier.init_args.c", "2"))
    assert len(computed) == 48
    main(arguments(made, config, tmp_path / "three", *store, "--model.features.init_args.statistics", "[mean]"))
    assert len(computed) == 96
    (kept, *_) = sorted((tmp_path / "store").glob("4000hz-*/features-*.npz"), key=lambda path: path.stat().st_mtime)
    with np.load(kept) as file:
        digest, values = file["digest"], file["values"]
    np.savez(kept, digest=digest[3:], values=values[3:])
    main(arguments(made, config, tmp_path / "four", *store, "--model.classifier.init_args.c", "3"))
    assert len(computed) == 99


def test_a_pretrained_encoder_per_fold_is_used_and_one_that_leaks_is_refused(made: Path, tmp_path: Path, capsys: Any) -> None:
    folds = pd.read_csv(made / "folds.csv")
    encoders = tmp_path / "encoders"
    config = with_encoder(tmp_path)
    for fold in range(3):
        torch.manual_seed(fold)
        (encoders / f"fold-{fold}").mkdir(parents=True)
        seen = folds[folds["fold"] != fold]
        parts = (LogMel(num_mels=16), Cnn2d(channels=[8, 16]))
        save_encoder(encoders / f"fold-{fold}" / "encoder.pt", *parts, {}, set(seen["patient"]), seen["recording"])
    main(arguments(made, config, tmp_path / "run", "--encoder", str(encoders)))
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["encoder"]["source"] == "per_fold" and record["sample_rate"] == 4000
    one = str(encoders / "fold-0" / "encoder.pt")
    assert "leaks" in refusal(capsys, arguments(made, config, tmp_path / "other", "--encoder", one))
    main(arguments(made, config, tmp_path / "other", "--encoder", one, "--transductive"))
    each, shared = (pd.read_csv(tmp_path / run / "oof.csv") for run in ("run", "other"))
    same = each["prob_wheeze"] == shared["prob_wheeze"]
    assert same[folds["fold"] == 0].all() and not same[folds["fold"] != 0].any()
