"""Settings of encoders reach the network, or are refused."""

import math

import pytest
import torch
from made_spectrograms import spectrograms
from torch import nn

from common.encoders.ast import Ast
from common.encoders.cnn import Cnn1d, Cnn2d
from common.encoders.crnn import Crnn
from common.encoders.efficientat import EfficientAT
from common.encoders.panns import Panns
from common.encoders.timm_encoder import TimmEncoder
from common.errors import UserError


@pytest.mark.parametrize("make", [Cnn2d, Cnn1d])
def test_small_encoders_learn_to_tell_high_from_low(make):
    """The same sound at two places on the frequency axis, which convolution and a mean over frequency alone cannot tell apart."""
    torch.manual_seed(0)
    encoder = make(channels=(8, 16))
    head = nn.Linear(encoder.num_features, 1)
    low = torch.rand(32) < 0.5
    batch = torch.randn(32, 1, 64, 16)
    batch[low, :, 8:24] += 1.0
    batch[~low, :, 40:56] += 1.0
    optimiser = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], lr=1e-2)
    for _ in range(60):
        loss = nn.functional.binary_cross_entropy_with_logits(head(encoder(batch)).squeeze(1), low.float())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.1 < math.log(2)


def test_settings_reach_the_network():
    dropouts = [part.p for part in Cnn2d(dropout=0.3).modules() if isinstance(part, nn.Dropout)]
    assert dropouts == [0.3] * 3
    assert [part.p for part in Cnn1d(dropout=0.2).modules() if isinstance(part, nn.Dropout)] == [0.2] * 2
    assert Cnn2d(channels=(4, 8)).num_features == 8
    assert Cnn1d(num_bins=20, kernel_size=3)(torch.randn(2, 1, 20, 30)).shape == (2, 128)
    rates = [part.drop_prob for part in TimmEncoder(drop_path=0.2).modules() if type(part).__name__ == "DropPath"]
    assert max(rates) == pytest.approx(0.2)
    assert not [part for part in TimmEncoder().modules() if type(part).__name__ == "DropPath"]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Cnn2d(channels=()), "channels is"),
        (lambda: Cnn2d(dropout=1.0), "dropout is 1"),
        (lambda: Cnn1d(kernel_size=4), "kernel_size is 4"),
        (lambda: Cnn1d(num_bins=0), "num_bins is 0"),
        (lambda: TimmEncoder(drop_path=-0.1), "drop_path is -0.1"),
        (lambda: EfficientAT(width=0), "width is 0"),
        (lambda: EfficientAT(batch_norm_momentum=0), "batch_norm_momentum is 0"),
        (lambda: Panns("cnn12"), "network is 'cnn12'"),
        (lambda: Crnn(hidden=0), "hidden is 0"),
        (lambda: Crnn(num_layers=0), "num_layers 0"),
        (lambda: Crnn(dropout=1.0), "dropout is 1"),
        (lambda: Ast(stride=17), "stride is 17"),
        (lambda: Ast(num_frames=15), "num_frames 15"),
        (lambda: Panns(dropout=1.0), "dropout is 1"),
    ],
)
def test_settings_out_of_range(make, reason):
    with pytest.raises(ValueError, match=reason):
        make()


def test_cnn1d_says_which_front_end_does_not_fit():
    with pytest.raises(ValueError, match="64 bins, but was given 40"):
        Cnn1d(num_bins=64)(torch.randn(2, 1, 40, 100))


@pytest.mark.parametrize(("name", "features"), [("resnet50", 2048), ("efficientnet_b0", 1280), ("convnext_tiny", 768)])
def test_networks_of_pictures_take_spectrograms(name: str, features: int) -> None:
    encoder = TimmEncoder(name).eval()
    with torch.no_grad():
        assert encoder.feature_map(spectrograms(2, 100)).shape[:2] == (2, features)
    assert encoder.num_features == features


def test_crnn_hears_the_whole_clip_at_each_frame() -> None:
    """Both ways in time, further than its convolutions reach."""
    torch.manual_seed(0)
    encoder = Crnn((4, 8), hidden=8).eval()
    clip = spectrograms(1, 64)
    for changed, heard_at in ((slice(56, 64), 0), (slice(0, 8), -1)):
        other = clip.clone()
        other[..., changed] += 3.0
        with torch.no_grad():
            convolved = encoder.convolutions.feature_map(other) - encoder.convolutions.feature_map(clip)
            found = encoder.feature_map(other) - encoder.feature_map(clip)
        assert convolved[..., heard_at].abs().max() == 0
        assert found[..., heard_at].abs().max() > 0


def test_crnn_under_autocast_keeps_its_state_in_float32() -> None:
    encoder = Crnn((4, 8), hidden=8).eval()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert encoder.feature_map(spectrograms(2)).dtype == torch.float32


def test_ast_says_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="64 bins and 12 frames, expected at least 16"):
        Ast(stride=16)(spectrograms(1, 12))
    for name in ("resnet18", "swin_tiny_patch4_window7_224", "vit_small_patch14_reg4_dinov2", "vit_base_patch16_clip_224"):
        with pytest.raises(UserError, match="is no plain ViT or DeiT with patches of 16"):
            Ast(name)
    with pytest.raises(UserError, match="choose one"):
        Ast(pretrained=True, weights="a.pt")
