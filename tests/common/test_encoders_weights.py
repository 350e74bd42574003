"""Weights that do not fit an encoder are refused by key."""

import pytest
import timm
import torch
from made_spectrograms import spectrograms

from common.encoders.timm_encoder import TimmEncoder
from common.errors import UserError


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"name": "resnet81"}, "knows no network 'resnet81'; close to it are .*resnet18"),
        ({"name": "vit_tiny_patch16_224"}, "does not take spectrograms of any size"),
        ({"name": "vit_small_patch14_reg4_dinov2", "drop_path": 0.1}, "does not take spectrograms|no map"),
        ({"name": "vgg11", "drop_path": 0.1}, "vgg11 does not take these options"),
        ({"pretrained": True, "weights": "a.pt"}, "choose one"),
        ({"weights": "nowhere.pt"}, "No weights at nowhere.pt"),
    ],
)
def test_timm_encoder_refuses_with_one_sentence(arguments, reason):
    with pytest.raises(UserError, match=reason) as caught:
        TimmEncoder(**arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("suffix", "wrapped"), [(".pth", True), (".safetensors", False)])
def test_local_weights_of_a_classifier_of_pictures(tmp_path, suffix, wrapped):
    torch.manual_seed(1)
    classifier = timm.create_model("resnet18", num_classes=7).eval()
    path = tmp_path / f"weights{suffix}"
    if wrapped:
        torch.save({"state_dict": classifier.state_dict(), "epoch": 3}, path)
    else:
        from safetensors.torch import save_file

        save_file(classifier.state_dict(), path)
    encoder = TimmEncoder(weights=str(path)).eval()
    grey = spectrograms(2)
    with torch.no_grad():
        expected = classifier.forward_features(grey.expand(-1, 3, -1, -1))
        torch.testing.assert_close(encoder.feature_map(grey), expected.mean(dim=2), atol=1e-4, rtol=1e-4)
    # Rebuilt elsewhere, without that file: its weights come with the encoder file.
    assert encoder.describe()["init_args"] == {"name": "resnet18", "pretrained": False, "weights": None, "drop_path": 0.0}


def test_weights_of_another_network_fail_by_key(tmp_path):
    state = timm.create_model("resnet18", num_classes=7).state_dict()
    changed = dict(state)
    del changed["layer1.0.conv1.weight"]
    torch.save(changed, tmp_path / "missing.pt")
    with pytest.raises(UserError, match=r"lacks layer1\.0\.conv1\.weight"):
        TimmEncoder(weights=str(tmp_path / "missing.pt"))
    torch.save(state | {"extra.weight": torch.ones(1)}, tmp_path / "extra.pt")
    with pytest.raises(UserError, match=r"unexpected extra\.weight"):
        TimmEncoder(weights=str(tmp_path / "extra.pt"))
    torch.save(state | {"layer1.0.bn1.weight": torch.ones(3)}, tmp_path / "shape.pt")
    with pytest.raises(UserError, match=r"layer1.0.bn1.weight is \(3,\), expected \(64,\)"):
        TimmEncoder(weights=str(tmp_path / "shape.pt"))


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights", "list"])
def test_files_that_are_no_weights(tmp_path, content, suffix):
    path = tmp_path / f"weights{suffix}"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save([1, 2], path)
    with pytest.raises(UserError, match=r"weights\.(pt|safetensors)"):
        TimmEncoder(weights=str(path))


def test_weights_of_an_audio_network_fail_by_key(shared_data):
    file = shared_data / "weights" / "mn04_as_mAP_432.pt"
    with pytest.raises(UserError, match="do not fit this MobileNetV3: it lacks"):
        TimmEncoder("mobilenetv3_large_100", weights=str(file))
