"""Weights of the audio spectrogram transformer under the names of each source, against a plain restatement of the network."""

from pathlib import Path

import pytest
import timm
import torch
from torch.nn import functional as F

from common.encoders.ast import Ast
from common.encoders.ast_weights import ast_state, resized
from common.encoders.timm_encoder import TimmEncoder
from common.errors import UserError

State = dict[str, torch.Tensor]
TINY = {"stride": 10, "num_bins": 36, "num_frames": 56}  # 3 x 5 patches
HUGGING_FACE = "audio_spectrogram_transformer."


def hugging_face(width: int, hidden: int, layers: int, patches: int, classes: int = 527) -> State:
    """Made weights under the names and in the shapes of ASTForAudioClassification."""
    random = torch.Generator().manual_seed(0)

    def made(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=random) * 0.1

    state = {
        f"{HUGGING_FACE}embeddings.cls_token": made(1, 1, width),
        f"{HUGGING_FACE}embeddings.distillation_token": made(1, 1, width),
        f"{HUGGING_FACE}embeddings.position_embeddings": made(1, patches + 2, width),
        f"{HUGGING_FACE}embeddings.patch_embeddings.projection.weight": made(width, 1, 16, 16),
        f"{HUGGING_FACE}embeddings.patch_embeddings.projection.bias": made(width),
    }

    def linear(name: str, outputs: int, inputs: int) -> None:
        state[f"{name}.weight"], state[f"{name}.bias"] = made(outputs, inputs), made(outputs)

    def norm(name: str) -> None:
        state[f"{name}.weight"], state[f"{name}.bias"] = 1 + made(width), made(width)

    for layer in range(layers):
        name = f"{HUGGING_FACE}encoder.layer.{layer}"
        for part in ("attention.attention.query", "attention.attention.key", "attention.attention.value", "attention.output.dense"):
            linear(f"{name}.{part}", width, width)
        linear(f"{name}.intermediate.dense", hidden, width)
        linear(f"{name}.output.dense", width, hidden)
        norm(f"{name}.layernorm_before")
        norm(f"{name}.layernorm_after")
    norm(f"{HUGGING_FACE}layernorm")
    norm("classifier.layernorm")
    linear("classifier.dense", classes, width)
    return state


def plain(state: State, spectrogram: torch.Tensor, layers: int, heads: int) -> torch.Tensor:
    """The pooled output as Gong et al. 2021, section 2.1, and Dosovitskiy et al. 2021, equations 1 to 4, have it: [B, F, N] to [B, D]."""

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        centred = x - x.mean(dim=-1, keepdim=True)
        return centred / (centred.square().mean(dim=-1, keepdim=True) + 1e-6).sqrt() * state[f"{name}.weight"] + state[f"{name}.bias"]

    embeddings = f"{HUGGING_FACE}embeddings."
    kernels = state[f"{embeddings}patch_embeddings.projection.weight"].flatten(1)
    # Patch by patch, over time within frequency.
    patches = spectrogram.unfold(1, 16, 10).unfold(2, 16, 10).flatten(3).flatten(1, 2)
    x = patches @ kernels.T + state[f"{embeddings}patch_embeddings.projection.bias"]
    first = [state[f"{embeddings}{token}"].expand(len(x), -1, -1) for token in ("cls_token", "distillation_token")]
    x = torch.cat([*first, x], dim=1) + state[f"{embeddings}position_embeddings"]
    for layer in range(layers):
        name = f"{HUGGING_FACE}encoder.layer.{layer}"
        y = norm(x, f"{name}.layernorm_before")
        query, key, value = (linear(y, f"{name}.attention.attention.{part}").chunk(heads, dim=-1) for part in ("query", "key", "value"))
        answers = [(q @ k.transpose(1, 2) / q.shape[-1] ** 0.5).softmax(dim=-1) @ v for q, k, v in zip(query, key, value, strict=True)]
        x = x + linear(torch.cat(answers, dim=-1), f"{name}.attention.output.dense")
        hidden = F.gelu(linear(norm(x, f"{name}.layernorm_after"), f"{name}.intermediate.dense"))
        x = x + linear(hidden, f"{name}.output.dense")
    return norm(x, f"{HUGGING_FACE}layernorm")[:, :2].mean(dim=1)


@pytest.mark.parametrize("suffix", [".bin", ".safetensors"])
def test_weights_of_hugging_face_answer_as_the_paper_says(tmp_path: Path, suffix: str) -> None:
    state = hugging_face(192, 768, 12, 15)
    path = tmp_path / f"weights{suffix}"
    if suffix == ".bin":
        torch.save(state, path)
    else:
        from safetensors.torch import save_file

        save_file(state, path)
    encoder = Ast(**TINY, weights=str(path)).eval()
    spectrogram = torch.randn(2, 36, 56, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = encoder(spectrogram[:, None])
    torch.testing.assert_close(found, plain(state, spectrogram, 12, 3), atol=1e-4, rtol=1e-3)
    # Rebuilt elsewhere, without that file: its weights come with the encoder file.
    assert encoder.describe()["init_args"]["weights"] is None


def test_the_released_shapes_fit() -> None:
    """MIT/ast-finetuned-audioset-10-10-0.4593: width 768, 12 layers, 12 x 101 patches of 128 x 1024."""
    with torch.device("meta"):
        released = {key: torch.empty_like(value, device="meta") for key, value in hugging_face_shapes().items()}
        own = Ast("deit_base_distilled_patch16_224").state_dict()
    fitted = ast_state(released, (12, 101))
    assert {key: value.shape for key, value in fitted.items()} == {key: value.shape for key, value in own.items()}
    assert fitted["positions"].shape == (1, 1214, 768)


def hugging_face_shapes() -> State:
    one_layer = hugging_face(768, 3072, 1, 12 * 101)
    layer = {key: value for key, value in one_layer.items() if ".layer.0." in key}
    return one_layer | {key.replace(".layer.0.", f".layer.{number}."): value for number in range(1, 12) for key, value in layer.items()}


def test_weights_of_the_authors_and_of_pictures(tmp_path: Path) -> None:
    picture = timm.create_model("deit_tiny_distilled_patch16_224").state_dict()
    torch.save(picture, tmp_path / "deit.pth")
    encoder = Ast(**TINY, weights=str(tmp_path / "deit.pth")).eval()
    torch.testing.assert_close(encoder.patches.weight[:, 0], picture["patch_embed.proj.weight"].sum(dim=1))
    expected = F.interpolate(picture["pos_embed"][:, 2:].transpose(1, 2).reshape(1, 192, 14, 14), size=(3, 5), mode="bilinear")
    torch.testing.assert_close(encoder.positions[:, 2:], expected.flatten(2).transpose(1, 2))
    assert torch.equal(encoder.positions[:, :2], picture["pos_embed"][:, :2])
    # Theirs: the same network inside "v", of this grid and one channel, wrapped for several devices, with its own head.
    authors = {f"module.v.{key}": value for key, value in picture.items()}
    authors["module.v.pos_embed"] = encoder.positions.detach().clone()
    authors["module.v.patch_embed.proj.weight"] = encoder.patches.weight.detach().clone()
    authors["module.mlp_head.1.weight"] = torch.zeros(527, 192)
    torch.save(authors, tmp_path / "authors.pth")
    again = Ast(**TINY, weights=str(tmp_path / "authors.pth"))
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in encoder.state_dict().items())


def test_weights_that_do_not_fit_fail_by_key(tmp_path: Path) -> None:
    state = hugging_face(192, 768, 12, 15)
    del state[f"{HUGGING_FACE}encoder.layer.3.attention.attention.key.bias"]
    torch.save(state, tmp_path / "missing.bin")
    with pytest.raises(UserError, match=r"missing.bin do not fit this Ast: it lacks blocks\.3\.attn\.qkv\.bias"):
        Ast(**TINY, weights=str(tmp_path / "missing.bin"))
    torch.save(hugging_face(192, 768, 12, 14), tmp_path / "grid.bin")
    with pytest.raises(UserError, match=r"positions is \(1, 16, 192\), expected \(1, 17, 192\)"):
        Ast(**TINY, weights=str(tmp_path / "grid.bin"))
    torch.save(TimmEncoder("resnet18").state_dict(), tmp_path / "resnet.pt")
    with pytest.raises(UserError, match=r"lacks blocks\.0\.attn"):
        Ast(**TINY, weights=str(tmp_path / "resnet.pt"))


def test_positions_of_the_same_grid_stay_and_others_lie_between() -> None:
    positions = torch.arange(12.0).reshape(1, 12, 1)
    assert torch.equal(resized(positions, (3, 4), (3, 4)), positions)
    longer = resized(positions, (3, 4), (3, 8)).reshape(3, 8)
    assert (longer.diff(dim=1) >= 0).all() and longer.min() == 0 and longer.max() == 11
