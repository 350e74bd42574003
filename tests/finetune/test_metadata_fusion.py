"""The two streams of a classifier: both reach the answer, windows take the metadata of their clip."""

import torch
from made_metadata import stream

from common.encoders.cnn import Cnn2d
from common.frontends.log_mel import LogMel
from finetune.classifier import Classifier
from finetune.metadata import Metadata
from finetune.tasks.multilabel import MultiLabel


def classifier(metadata: Metadata | None) -> Classifier:
    torch.manual_seed(0)
    return Classifier(MultiLabel(), LogMel(num_mels=16), Cnn2d(channels=[4, 8]), clip_s=0.5, metadata=metadata).eval()


def test_both_streams_reach_the_answer_and_one_can_be_silenced() -> None:
    waveform = torch.randn(2, 2000, generator=torch.Generator().manual_seed(0)).cumsum(1) / 30
    one, other = torch.tensor([[2.0, 0.0]]).repeat(2, 1), torch.tensor([[12.0, 1.0]]).repeat(2, 1)
    model = classifier(stream())
    assert not torch.equal(model(waveform, one), model(waveform, other))
    assert not torch.equal(model(waveform, one)[0], model(waveform, one)[1])
    # Nothing known is all missing.
    torch.testing.assert_close(model(waveform), model(waveform, torch.full((2, 2), torch.nan)))
    model = classifier(stream(audio=False))
    assert not torch.equal(model(waveform, one), model(waveform, other))
    assert torch.equal(model(waveform, one)[0], model(waveform, one)[1])


def test_a_model_without_metadata_is_the_one_it_was() -> None:
    model = classifier(None)
    assert model.head.in_features == model.encoder.num_features
    assert not any("metadata" in name for name in model.state_dict())


def test_windows_take_the_metadata_of_their_clip() -> None:
    model = classifier(stream())
    waveform, rows = torch.randn(3, 2000), torch.tensor([[2.0, 0.0], [12.0, 1.0]])
    probabilities, logits = model.clip_probabilities(waveform, torch.tensor([0, 1, 1]), 2, rows)
    torch.testing.assert_close(logits, model(waveform, rows[[0, 1, 1]]))
    torch.testing.assert_close(probabilities[1], torch.sigmoid(logits[1:]).mean(dim=0))
