"""An encoder that pools another's maps in several ways."""

import pytest
import torch
from made_spectrograms import spectrograms

from common.described import build
from common.encoders import Cnn1d, Cnn2d, EfficientAT, Encoder, Pooled
from common.errors import UserError


@pytest.fixture(scope="module")
def inner() -> Encoder:
    torch.manual_seed(0)
    encoder = EfficientAT(0.1, batch_norm_momentum=1.0)
    encoder.train()(spectrograms(8))
    return encoder.eval()


@torch.no_grad()
def test_poolings_stand_one_after_the_other(inner: Encoder) -> None:
    encoder = Pooled(inner, 64, pooling=("max", "frequency", "embedding"), layers=(3,)).eval()
    given = spectrograms(2, 96)
    last, layer = inner.frequency_map(given), inner.layer_maps(given, [3])[0]
    expected = [last.amax(dim=(2, 3)), last.mean(dim=3).flatten(1), inner(given)]
    expected += [layer.mean(dim=3).flatten(1), layer.amax(dim=3).flatten(1), layer.std(dim=3, correction=0).flatten(1)]
    torch.testing.assert_close(encoder(given), torch.cat(expected, dim=1))
    assert encoder.num_features == sum(part.shape[1] for part in expected)
    torch.testing.assert_close(encoder.feature_map(given), inner.feature_map(given))


@torch.no_grad()
def test_it_is_rebuilt_from_its_description_and_traced_for_any_length(inner: Encoder) -> None:
    encoder = Pooled(inner, 64).eval()
    rebuilt = build(encoder.describe(), Encoder)
    rebuilt.load_state_dict(encoder.state_dict())
    traced = torch.jit.trace(rebuilt.eval(), spectrograms(2, 128), check_trace=False)
    torch.testing.assert_close(traced(spectrograms(3, 70)), encoder(spectrograms(3, 70)))


def test_what_cannot_be_pooled_is_refused() -> None:
    with pytest.raises(ValueError, match=r"pooling is \['median'\], expected one or more of mean"):
        Pooled(Cnn2d((4, 8)), 64, pooling=["median"])
    with pytest.raises(UserError, match="no axis of frequency left"):
        Pooled(Cnn1d(num_bins=64, channels=(4, 8)), 64)
    with pytest.raises(UserError, match="told apart by number"):
        Pooled(Cnn2d((4, 8)), 64, layers=[1])


def test_making_it_leaves_statistics_and_mode_of_the_encoder_alone() -> None:
    inner = Cnn2d((4, 8)).train()
    before = {name: value.clone() for name, value in inner.state_dict().items()}
    assert Pooled(inner, 64).training and inner.training
    assert all(torch.equal(before[name], value) for name, value in inner.state_dict().items())
