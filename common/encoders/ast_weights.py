"""Files of transformers, whatever names they give to the parameters, as states of an `Ast`."""

import math

import torch
from torch import Tensor
from torch.nn import functional

PREFIX = "audio_spectrogram_transformer."
# Hugging Face's name within a layer -> timm's; query, key and value are one matrix in timm.
IN_LAYER = {
    "layernorm_before": "norm1",
    "attention.output.dense": "attn.proj",
    "layernorm_after": "norm2",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
}
OUTSIDE = {
    "embeddings.cls_token": "cls_token",
    "embeddings.distillation_token": "dist_token",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.patch_embeddings.projection.weight": "patch_embed.proj.weight",
    "embeddings.patch_embeddings.projection.bias": "patch_embed.proj.bias",
    "layernorm.weight": "norm.weight",
    "layernorm.bias": "norm.bias",
}
# Classifiers of AudioSet (Hugging Face, Gong et al.) and of pictures.
LEFT_OUT = ("classifier.", "mlp_head.", "head.", "head_dist.", "v.head.", "v.head_dist.")


def ast_state(state: dict[str, Tensor], grid: tuple[int, int]) -> dict[str, Tensor]:
    """``state`` under the names of `Ast`.

    Args:
        state: of Hugging Face's ASTModel or ASTForAudioClassification, of Gong et al.'s own files, or of a ViT or DeiT of timm.
            Unknown names stay as they are, for `load_weights` to refuse.
        grid: patches over frequency and time of the receiving network; square positions of pictures are interpolated to it.
    """
    state = {key.removeprefix("module."): value for key, value in state.items()}
    state = {key.removeprefix("v.").removeprefix(PREFIX): value for key, value in state.items() if not key.startswith(LEFT_OUT)}
    state = _joined({_timm_name(key): value for key, value in state.items()})
    tokens = [state.pop(key) for key in ("cls_token", "dist_token") if key in state]
    if tokens:
        state["tokens"] = torch.cat(tokens, dim=1)
    if "patch_embed.proj.weight" in state:
        kernels = state.pop("patch_embed.proj.weight")
        # As if each colour saw the spectrogram; Gong et al.'s code (src/models/ast_models.py) sums them too.
        state["patches.weight"] = kernels.sum(dim=1, keepdim=True) if kernels.dim() == 4 else kernels
    if "patch_embed.proj.bias" in state:
        state["patches.bias"] = state.pop("patch_embed.proj.bias")
    if "pos_embed" in state:
        state["positions"] = _positions(state.pop("pos_embed"), len(tokens), grid)
    return state


def resized(positions: Tensor, before: tuple[int, int], after: tuple[int, int]) -> Tensor:
    """Position embeddings [1, f n, D] of a grid ``before`` (f, n), bilinearly interpolated to the grid ``after``."""
    picture = positions.transpose(1, 2).unflatten(2, before)
    return functional.interpolate(picture, size=after, mode="bilinear", align_corners=False).flatten(2).transpose(1, 2)


def _positions(embedding: Tensor, tokens: int, grid: tuple[int, int]) -> Tensor:
    patches = embedding.shape[1] - tokens
    side = math.isqrt(max(0, patches))
    if side == 0 or side * side != patches:
        return embedding
    return torch.cat((embedding[:, :tokens], resized(embedding[:, tokens:], (side, side), grid)), dim=1)


def _timm_name(key: str) -> str:
    if key in OUTSIDE:
        return OUTSIDE[key]
    start, _, rest = key.partition("encoder.layer.")
    if start or not rest:
        return key
    number, _, name = rest.partition(".")
    part, _, kind = name.rpartition(".")
    return f"blocks.{number}.{IN_LAYER.get(part, part)}.{kind}"


def _joined(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """``state`` with query, key and value of each layer below one another, as timm has them."""
    joined = dict(state)
    for key in state:
        before, found, kind = key.rpartition("attention.attention.query.")
        names = [f"{before}attention.attention.{part}.{kind}" for part in ("query", "key", "value")]
        if found and all(name in state for name in names):
            joined[f"{before}attn.qkv.{kind}"] = torch.cat([joined.pop(name) for name in names])
    return joined
