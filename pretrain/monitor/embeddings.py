"""Embeddings of whole clips without augmentation: what probes, leakage and the map of the report look at."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from common.store.waveforms import ClipIndex, WaveformStore
from common.windows import clip_windows, pool_windows

if TYPE_CHECKING:
    from pretrain.data import PretrainData
    from pretrain.simclr import SimCLR


@torch.no_grad()
def embed(
    network: Callable[[Tensor], Tensor], store: WaveformStore, clips: ClipIndex, num_samples: int, short_clips: str, batch_size: int
) -> Tensor:
    """Embed whole clips: the mean over windows that cover each clip.

    Args:
        network: waveforms [B, T] to embeddings [B, D], in evaluation mode.
        store: holds the clips' samples.
        clips: n clips of it, on the network's device.
        num_samples: samples of a window, T.
        short_clips: what fills a clip shorter than a window, "repeat" or "pad".
        batch_size: windows at a time.

    Returns:
        float32 [n, D], on the CPU.
    """
    device = clips.start.device
    clip, offsets = clip_windows(clips.length.tolist(), num_samples, num_samples)
    embeddings = []
    for batch in torch.arange(len(clip)).split(batch_size):
        waveform = store.read(clips[clip[batch].to(device)], offsets[batch].to(device), num_samples, mode=short_clips)
        embeddings.append(network(waveform.to(device)).float().cpu())
    return pool_windows(torch.cat(embeddings), clip, len(clips), "mean")


def embed_clips(model: "SimCLR", data: "PretrainData", rows: Tensor) -> Tensor:
    """Embed the clips ``rows`` of a run's data, int64 [n], in the run's precision: float32 [n, D], on the CPU."""
    data.to_device(model.device)
    training = model.training
    model.eval()
    with model.trainer.precision_plugin.forward_context():
        clips = data.clips[rows.to(model.device)]
        embeddings = embed(model, data.store, clips, data.crop_samples, model.short_clips, data.batch_size)
    model.train(training)
    return embeddings
