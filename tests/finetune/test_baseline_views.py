"""What an encoder's features may be computed of besides the clip as it is: played faster, brought to a level, earlier layers."""

from typing import Any

import numpy as np
import pytest
import torch
from made_baseline import noise

from common.audio.resample import resample
from common.encoders import Cnn2d, EfficientAT
from common.errors import UserError
from common.frontends import LogMel
from finetune.baseline.features import EncoderFeatures


@pytest.fixture(scope="module")
def encoder() -> EfficientAT:
    torch.manual_seed(0)
    made = EfficientAT(width=0.1, batch_norm_momentum=1.0).train()
    # Random weights alone let sounds fade to nothing on the way; norms that have heard some keep them at 1.
    with torch.no_grad():
        made(LogMel(num_mels=64)(noise(8 * 4000)))
    return made.eval()


def far(one: np.ndarray, other: np.ndarray) -> float:
    """Largest difference, as a share of the largest value."""
    assert one.shape == other.shape
    return float(np.abs(one - other).max() / np.abs(other).max())


def features(encoder: EfficientAT, **more: Any) -> EncoderFeatures:
    return EncoderFeatures(LogMel(num_mels=64), encoder, **more).eval()


def pooled(of: EncoderFeatures, waveform: torch.Tensor) -> np.ndarray:
    with torch.inference_mode():
        return of(waveform).numpy()


def test_a_speed_is_what_the_clip_played_faster_gives(encoder: EfficientAT) -> None:
    waveform = noise(8 * 4000)
    views = np.split(pooled(features(encoder, speeds=[1, 2, 0.5]), waveform), 3, axis=1)
    assert np.array_equal(views[0], pooled(features(encoder), waveform))
    assert np.array_equal(views[1], pooled(features(encoder), resample(waveform, 4000, 2000)))
    assert np.array_equal(views[2], pooled(features(encoder), resample(waveform, 4000, 8000)))


def test_a_tone_played_faster_is_a_higher_tone(encoder: EfficientAT) -> None:
    time = torch.arange(8 * 4000) / 4000
    tones = {hz: 0.3 * torch.sin(2 * torch.pi * hz * time)[None] for hz in (300, 600)}
    faster = pooled(features(encoder, speeds=[2], pooling=["frequency"]), tones[300])
    higher, same = (np.abs(faster - pooled(features(encoder, pooling=["frequency"]), tones[hz])).mean() for hz in (600, 300))
    assert higher < same / 2


def test_at_a_level_all_gains_are_alike(encoder: EfficientAT) -> None:
    front_end = LogMel(num_mels=64, normalise="none")
    levelled, as_it_is = (EncoderFeatures(front_end, encoder, level_db=level).eval() for level in (-20.0, None))
    waveform = noise(2 * 4000)
    quiet, loud = pooled(levelled, 0.01 * waveform), pooled(levelled, waveform)
    assert far(quiet, loud) < 1e-3 and far(pooled(as_it_is, 0.01 * waveform), pooled(as_it_is, waveform)) > 0.1
    one = waveform[:1]
    assert far(loud[:1], pooled(as_it_is, one * 0.1 / one.square().mean().sqrt())) < 1e-3
    assert np.isfinite(pooled(levelled, torch.zeros(1, 8000))).all()


def test_layers_are_pooled_at_each_of_their_frequencies(encoder: EfficientAT) -> None:
    waveform = noise(3 * 4000)
    found = pooled(features(encoder, pooling=["mean"], layers=[2, 12]), waveform)
    expected, hidden = [], LogMel(num_mels=64)(waveform)
    with torch.inference_mode():
        for number, layer in enumerate(encoder.features):
            hidden = layer(hidden)
            if number in (2, 12):
                maps = hidden.double().numpy()
                expected += [maps.mean(3).reshape(2, -1), maps.max(3).reshape(2, -1), maps.std(3).reshape(2, -1)]
    assert far(found, np.concatenate([hidden.numpy().mean((2, 3)), *expected], axis=1)) < 1e-5
    alone = pooled(features(encoder, pooling=[], layers=[2, 12]), waveform)
    assert np.array_equal(alone, found[:, encoder.num_features :])


def test_frequencies_have_a_maximum_and_a_deviation(encoder: EfficientAT) -> None:
    waveform = noise(3 * 4000)
    with torch.inference_mode():
        found = encoder.frequency_map(LogMel(num_mels=64)(waveform)).double().numpy()
    expected = np.concatenate([found.max(3).reshape(2, -1), found.std(3).reshape(2, -1)], axis=1)
    assert far(pooled(features(encoder, pooling=["frequency_max", "frequency_std"]), waveform), expected) < 1e-5


@pytest.mark.parametrize("settings", [{"speeds": []}, {"speeds": [0]}, {"speeds": [17]}, {"level_db": 3}, {"pooling": []}])
def test_what_no_clip_can_be_is_refused(encoder: EfficientAT, settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        features(encoder, **settings)


def test_layers_that_are_not_there_are_one_sentence(encoder: EfficientAT) -> None:
    with pytest.raises(UserError, match="has layers 0 to 16"):
        pooled(features(encoder, layers=[17]), noise(4000))
    with pytest.raises(UserError, match="Cnn2d has no layers"):
        pooled(EncoderFeatures(LogMel(num_mels=16), Cnn2d(channels=[4, 8]), layers=[1]).eval(), noise(4000))
