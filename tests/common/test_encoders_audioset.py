"""EfficientAT and PANNs: the published networks, by the authors' own weights, parameter counts, key names and a plain restatement."""

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from common.encoders.base import read_state_dict
from common.encoders.efficientat import EfficientAT
from common.encoders.panns import Panns
from common.errors import UserError
from common.frontends.kaldi_log_mel import KaldiLogMel

CLASSES = 527  # of AudioSet
# Rows of AudioSet's class_labels_indices.csv.
SILENCE, SINE_WAVE, STATIC, WHITE_NOISE = 500, 501, 515, 520

State = dict[str, torch.Tensor]


# EfficientAT.


@pytest.fixture(scope="module")
def mn04(shared_data: Path) -> str:
    """The authors' weights of width 0.4."""
    return str(shared_data / "weights" / "mn04_as_mAP_432.pt")


def test_the_authors_weights_hear_what_they_should(mn04: str) -> None:
    seconds = 10  # as the clips of AudioSet
    time = torch.arange(32000 * seconds) / 32000
    hiss = 0.1 * torch.randn(len(time), generator=torch.Generator().manual_seed(0))
    waveform = torch.stack([torch.zeros_like(time), 0.3 * torch.sin(2 * math.pi * 1000 * time), hiss])
    classifier = read_state_dict(mn04)
    with torch.no_grad():
        embedding = EfficientAT(weights=mn04).eval()(KaldiLogMel()(waveform))
        hidden = F.hardswish(F.linear(embedding, classifier["classifier.2.weight"], classifier["classifier.2.bias"]))
        logits = F.linear(hidden, classifier["classifier.5.weight"], classifier["classifier.5.bias"])
    silence, sine, noise = logits.sigmoid()
    assert embedding.shape == (3, 384)
    assert silence.argmax() == SILENCE and sine.argmax() == SINE_WAVE
    assert noise.topk(2).indices.tolist() == [STATIC, WHITE_NOISE]
    found = [float(silence[SILENCE]), float(sine[SINE_WAVE]), float(noise[STATIC]), float(noise[WHITE_NOISE])]
    assert found == pytest.approx([0.54, 0.72, 0.29, 0.23], abs=0.01)


@torch.no_grad()
def test_norms_that_take_off_much_cost_no_precision() -> None:
    """In evaluation mode features are those of double precision to some last bits; with convolution and norm apart they are not."""
    torch.manual_seed(0)
    encoder, given = EfficientAT(0.1, batch_norm_momentum=1.0), torch.randn(4, 1, 32, 48) + 3
    encoder.train()(given)
    layer = encoder.eval().features[0]
    layer[1].running_mean += 1000 * layer[1].running_var.sqrt()
    layer[1].bias += 1000 * layer[1].weight
    wide = copy.deepcopy(layer).double()
    expected = torch.nn.Sequential.forward(wide, given.double())
    torch.testing.assert_close(wide(given.double()), expected)
    folded, apart = layer(given), torch.nn.Sequential.forward(layer, given)
    assert (folded - expected).abs().max() < 1e-5 < (apart - expected).abs().max()


# In the table of the authors' README, millions with the classifier; 0.4 as counted in the file.
@pytest.mark.parametrize(("width", "millions"), [(0.4, 0.983599), (0.5, 1.43), (1.0, 4.88), (2.0, 17.91), (3.0, 39.09), (4.0, 68.43)])
def test_widths_have_the_published_number_of_parameters(width: float, millions: float) -> None:
    with torch.device("meta"):
        encoder = EfficientAT(width)
    hidden = round(1280 * width)
    classifier = (encoder.num_features + 1) * hidden + (hidden + 1) * CLASSES
    total = sum(parameter.numel() for parameter in encoder.parameters()) + classifier
    assert total / 1e6 == pytest.approx(millions, abs=5e-7 if width == 0.4 else 5e-3)


def test_weights_of_another_width_or_network_fail_by_key(tmp_path: Path) -> None:
    state = EfficientAT(0.4).state_dict()
    path = tmp_path / "weights.pt"
    torch.save(state | {"classifier.2.weight": torch.ones(3)}, path)
    EfficientAT(0.4, weights=str(path))
    with pytest.raises(UserError, match=r"do not fit this EfficientAT: it has other shapes: features\.\d+\S* is \("):
        EfficientAT(0.5, weights=str(path))
    torch.save(state | {"features.17.weight": torch.ones(1)}, path)
    with pytest.raises(UserError, match=r"unexpected features\.17\.weight"):
        EfficientAT(0.4, weights=str(path))
    del state["features.4.block.2.conc_se_layers.0.fc1.bias"]
    torch.save(state, path)
    with pytest.raises(UserError, match=r"lacks features\.4\.block\.2\.conc_se_layers\.0\.fc1\.bias"):
        EfficientAT(0.4, weights=str(path))
    with pytest.raises(UserError, match=r"No weights at nowhere\.pt"):
        EfficientAT(weights="nowhere.pt")


def test_settings_of_efficientat_reach_the_network(tmp_path: Path) -> None:
    encoder = EfficientAT(width=0.1, batch_norm_momentum=0.03)
    norms = [module for module in encoder.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert {(norm.momentum, norm.eps) for norm in norms} == {(0.03, 1e-3)}
    torch.save(encoder.state_dict(), tmp_path / "weights.pt")
    started = EfficientAT(width=0.1, weights=str(tmp_path / "weights.pt"))
    assert all(torch.equal(value, started.state_dict()[key]) for key, value in encoder.state_dict().items())
    # Rebuilt elsewhere, without that file: its weights come with the encoder file.
    assert started.describe()["init_args"] == {"width": 0.1, "weights": None, "batch_norm_momentum": 0.1}


# PANNs.


def checkpoint(network: str, seed: int = 0) -> State:
    """Made weights under the names and in the shapes of the released file of ``network``."""
    random = torch.Generator().manual_seed(seed)
    channels = (64, 128, 256, 512, 1024, 2048) if network == "cnn14" else (64, 128, 256, 512)
    size, convolutions = (5, 1) if network == "cnn6" else (3, 2)
    state = {
        "spectrogram_extractor.stft.conv_real.weight": torch.zeros(513, 1, 1024),
        "spectrogram_extractor.stft.conv_imag.weight": torch.zeros(513, 1, 1024),
        "logmel_extractor.melW": torch.zeros(513, 64),
    }

    def norm(name: str, width: int) -> None:
        state[f"{name}.weight"] = 0.5 + torch.rand(width, generator=random)
        state[f"{name}.bias"] = 0.1 * torch.randn(width, generator=random)
        state[f"{name}.running_mean"] = 0.1 * torch.randn(width, generator=random)
        state[f"{name}.running_var"] = 0.5 + torch.rand(width, generator=random)
        state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    norm("bn0", 64)
    for block, (before, after) in enumerate(zip((1, *channels), channels, strict=False), start=1):
        for number in range(1, convolutions + 1):
            fan_in = (before if number == 1 else after) * size**2
            shape = (after, fan_in // size**2, size, size)
            state[f"conv_block{block}.conv{number}.weight"] = torch.randn(shape, generator=random) * (2 / fan_in) ** 0.5
            norm(f"conv_block{block}.bn{number}", after)
    width = channels[-1]
    state["fc1.weight"] = torch.randn(width, width, generator=random) / width**0.5
    state["fc1.bias"] = 0.1 * torch.randn(width, generator=random)
    state["fc_audioset.weight"] = torch.zeros(CLASSES, width)
    state["fc_audioset.bias"] = torch.zeros(CLASSES)
    return state


def plain(state: State, network: str, log_mel: torch.Tensor) -> torch.Tensor:
    """The embedding as Kong et al. 2020, table 1 and section II.A, have it, step by step: [B, N, 64] in dB to [B, D]."""

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        mean, var, weight, bias = (
            state[f"{name}.{part}"].reshape(1, -1, 1, 1) for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias

    x = norm(log_mel.transpose(1, 2)[..., None], "bn0")[..., 0].transpose(1, 2)[:, None]  # [B, 1, N, 64]: time before frequency
    blocks = 6 if network == "cnn14" else 4
    for block in range(1, blocks + 1):
        for number in (1,) if network == "cnn6" else (1, 2):
            kernel = state[f"conv_block{block}.conv{number}.weight"]
            x = F.conv2d(x, kernel, padding="same")
            x = norm(x, f"conv_block{block}.bn{number}").clamp(min=0)
        if block < 6:
            frames, bins = x.shape[2] // 2, x.shape[3] // 2
            x = x[:, :, : 2 * frames, : 2 * bins].reshape(*x.shape[:2], frames, 2, bins, 2).mean(dim=(3, 5))
    x = x.mean(dim=3)
    pooled = x.max(dim=2).values + x.mean(dim=2)
    return (pooled @ state["fc1.weight"].T + state["fc1.bias"]).clamp(min=0)


@pytest.mark.parametrize("network", ["cnn6", "cnn10", "cnn14"])
def test_panns_embed_as_published(tmp_path: Path, network: str) -> None:
    state = checkpoint(network)
    torch.save({"iteration": 600000, "model": state}, tmp_path / "weights.pth")
    encoder = Panns(network, weights=str(tmp_path / "weights.pth")).eval()
    log_mel = 20 * torch.randn(2, 75, 64, generator=torch.Generator().manual_seed(1)) - 30
    with torch.no_grad():
        found = encoder(log_mel.transpose(1, 2)[:, None])
        expected = plain(state, network, log_mel)
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)
    assert encoder.num_features == found.shape[1] == (2048 if network == "cnn14" else 512)


# Kong et al. 2020, table XII, with the classifier of AudioSet.
@pytest.mark.parametrize(("network", "published"), [("cnn6", 4837455), ("cnn10", 5219279), ("cnn14", 80753615)])
def test_panns_have_the_published_number_of_parameters(network: str, published: int) -> None:
    with torch.device("meta"):
        encoder = Panns(network)
    parameters = sum(parameter.numel() for parameter in encoder.parameters())
    assert parameters + (encoder.num_features + 1) * CLASSES == published


def test_weights_of_other_panns_fail_by_key(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"model": checkpoint("cnn6")}, path)
    with pytest.raises(UserError, match=r"lacks conv_block1\.bn2\.bias"):
        Panns("cnn10", weights=str(path))
    torch.save({"model": checkpoint("cnn6") | {"resnet.layer1.0.conv1.weight": torch.ones(1)}}, path)
    with pytest.raises(UserError, match=r"unexpected resnet\.layer1\.0\.conv1\.weight"):
        Panns("cnn6", weights=str(path))
    torch.save({"model": checkpoint("cnn6") | {"fc1.bias": torch.ones(3)}}, path)
    with pytest.raises(UserError, match=r"fc1\.bias is \(3,\), expected \(512,\)"):
        Panns("cnn6", weights=str(path))


@pytest.mark.parametrize("core", ["core", "_core"])
def test_a_checkpoint_with_the_state_of_its_sampler_opens(tmp_path: Path, core: str) -> None:
    """As the authors' training writes it, before torch 1.6 and numpy 2."""
    path = tmp_path / "weights.pth"
    sampler = {"indexes_per_class": [np.arange(5), np.arange(2)], "queue": [1], "pointers_of_classes": [0, 1]}
    contents = {"iteration": 3, "model": {"fc1.bias": torch.ones(2)}, "sampler": sampler}
    torch.save(contents, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes().replace(b"numpy._core.multiarray", f"numpy.{core}.multiarray".encode()))
    assert f"numpy.{core}.multiarray".encode() in path.read_bytes()
    assert read_state_dict(path).keys() == {"fc1.bias"}


def test_settings_of_panns_reach_the_network() -> None:
    encoder = Panns("cnn6", dropout=0.5).train()
    spectrogram = torch.randn(2, 1, 64, 64)
    assert not torch.equal(encoder.feature_map(spectrogram), encoder.feature_map(spectrogram))
    without = Panns("cnn6", dropout=0.0).train()
    assert torch.equal(without.feature_map(spectrogram), without.feature_map(spectrogram))
    assert encoder.describe()["init_args"] == {"network": "cnn6", "weights": None, "dropout": 0.5}
    with pytest.raises(ValueError, match="Panns takes 64 bins, but was given 128"):
        encoder(torch.randn(2, 1, 128, 64))
