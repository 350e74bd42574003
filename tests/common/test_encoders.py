"""What every encoder keeps: shapes, maps, depth groups, description, traces."""

import warnings

import pytest
import torch
from made_spectrograms import spectrograms

from common.described import build
from common.encoders.ast import Ast
from common.encoders.base import Encoder, load_weights
from common.encoders.cnn import Cnn1d, Cnn2d
from common.encoders.crnn import Crnn
from common.encoders.efficientat import EfficientAT
from common.encoders.panns import Panns
from common.encoders.timm_encoder import TimmEncoder


def settled(encoder: Encoder) -> Encoder:
    """With batch norm's statistics of a batch: with those of a new network next to nothing comes out of a deep one."""
    encoder.train()(spectrograms(8))
    return encoder.eval()


EACH = {
    "cnn2d": Cnn2d,
    "cnn1d": Cnn1d,
    "resnet18": TimmEncoder,
    "mobilenetv3": lambda: TimmEncoder("mobilenetv3_small_050"),
    "convnext": lambda: TimmEncoder("convnext_atto"),
    "features_last": lambda: TimmEncoder("mambaout_femto"),
    "efficientat": lambda: settled(EfficientAT(batch_norm_momentum=1.0)),
    "cnn6": lambda: Panns("cnn6"),
    "crnn": lambda: Crnn((8, 16, 32), hidden=16, num_layers=2),
    "ast": lambda: Ast(stride=16, num_bins=64, num_frames=128),
    "ast_of_vit": lambda: Ast("vit_tiny_patch16_224", num_bins=64, num_frames=64),
}


@pytest.fixture(params=EACH, scope="module")
def encoder(request) -> Encoder:
    torch.manual_seed(0)
    return EACH[request.param]()


@pytest.mark.parametrize("num_frames", [40, 101, 256])
def test_shapes_also_of_short_clips(encoder, num_frames):
    encoder.eval()
    with torch.no_grad():
        features = encoder.feature_map(spectrograms(3, num_frames))
        embedding = encoder(spectrograms(3, num_frames))
    assert features.shape[:2] == (3, encoder.num_features)
    assert features.shape[2] >= 1
    assert embedding.shape == (3, encoder.num_features)
    if not isinstance(encoder, Panns | Ast):  # whose embedding is a layer or a token of its own
        torch.testing.assert_close(embedding, features.mean(dim=-1))


def test_the_map_follows_time(encoder):
    """Something heard late in the clip shows late in the map: the axis that is kept is time and not frequency."""
    encoder.eval()
    quiet = torch.zeros(1, 1, 64, 512)
    late = quiet.clone()
    late[..., 448:] = spectrograms(1, 64)
    with torch.no_grad():
        change = (encoder.feature_map(late) - encoder.feature_map(quiet)).abs().sum(dim=1).flatten()
    if isinstance(encoder, Ast):  # each patch of which attends to all others
        change = change - change.min()
    assert change[len(change) // 2 :].sum() > 3 * change[: len(change) // 2].sum()


def test_the_map_over_frequency_is_the_map_before_its_mean(encoder):
    encoder.eval()
    with torch.no_grad():
        over_both = encoder.frequency_map(spectrograms(3))
        torch.testing.assert_close(over_both.mean(dim=2), encoder.feature_map(spectrograms(3)))
    assert (over_both.shape[2] == 1) == isinstance(encoder, Cnn1d | Crnn)


@pytest.mark.parametrize("make", [Cnn2d, lambda: Panns("cnn6")], ids=["cnn2d", "cnn6"])
def test_the_map_over_frequency_follows_frequency(make):
    """Something heard in the highest bins shows at the map's highest frequencies."""
    torch.manual_seed(0)
    encoder = make().eval()
    quiet = torch.zeros(1, 1, 64, 256)
    high = quiet.clone()
    high[:, :, 56:] = spectrograms(1, 256)[:, :, 56:]
    with torch.no_grad():
        change = (encoder.frequency_map(high) - encoder.frequency_map(quiet)).abs().sum(dim=(0, 1, 3))
    assert len(change) == 4 and change[2:].sum() > 3 * change[:2].sum()


def test_every_parameter_is_used_and_grouped_once(encoder):
    encoder.train()
    encoder.zero_grad()
    encoder(spectrograms(4)).square().sum().backward()
    assert [name for name, parameter in encoder.named_parameters() if parameter.grad is None] == []
    grouped = [id(parameter) for group in encoder.layer_groups() for parameter in group]
    assert len(encoder.layer_groups()) > 2
    assert sorted(grouped) == sorted(id(parameter) for parameter in encoder.parameters())


def test_groups_go_from_input_to_output(encoder):
    order = {id(parameter): index for index, parameter in enumerate(encoder.parameters())}
    first, last = encoder.layer_groups()[0], encoder.layer_groups()[-1]
    assert id(next(encoder.parameters())) in {id(parameter) for parameter in first}
    assert max(order[id(parameter)] for parameter in first) < min(order[id(parameter)] for parameter in last)


def test_description_and_weights_rebuild_it(encoder):
    encoder.eval()
    rebuilt = build(encoder.describe(), Encoder).eval()
    load_weights(rebuilt, encoder.state_dict(), "the original")
    with torch.no_grad():
        assert torch.equal(rebuilt(spectrograms(2)), encoder(spectrograms(2)))


def test_channels_last_changes_the_speed_only(encoder):
    encoder.eval()
    batch = spectrograms(2)
    with torch.no_grad():
        expected = encoder(batch)
        encoder.to(memory_format=torch.channels_last)
        found = encoder(batch.to(memory_format=torch.channels_last))
        encoder.to(memory_format=torch.contiguous_format)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.*torch.jit.*:DeprecationWarning")
def test_trace_is_exact_for_other_batches_and_lengths(encoder):
    encoder.eval()
    traced = torch.jit.trace(encoder, spectrograms(2, 96), check_trace=False)
    for batch, num_frames in ((1, 96), (3, 64), (5, 201)):
        with torch.no_grad():
            torch.testing.assert_close(
                traced(spectrograms(batch, num_frames)), encoder(spectrograms(batch, num_frames)), atol=1e-5, rtol=1e-4
            )


@pytest.mark.parametrize(
    "encoder",
    [Cnn2d(), Cnn1d(num_bins=64), TimmEncoder("resnet18"), EfficientAT(), Panns("cnn6"), Crnn(), Ast(stride=16)],
    ids=lambda encoder: type(encoder).__name__,
)
def test_a_trace_names_no_device(encoder: Encoder) -> None:
    # A tensor made in forward, by linspace say, would stay on the CPU when the exported file moves to a GPU.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(encoder.eval(), torch.randn(2, 1, 64, 100))
    assert ": Device = prim::Constant" not in str(traced.inlined_graph)
