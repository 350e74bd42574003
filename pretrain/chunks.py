"""Batches larger than memory: some clips at a time through the network, the loss over all of them.

L. Gao, Y. Zhang, J. Han, J. Callan, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", RepL4NLP 2021 (GradCache).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _NormBase


def in_chunks(network: nn.Module, x: Tensor, chunk_size: int) -> Tensor:
    """``network`` over ``x``, some clips at a time, with the memory that one chunk's activations take and twice the forward passes.

    The first pass keeps results only. In the backward pass, which knows the gradient of the loss over all clips for each result, chunk
    by chunk goes through the network again with the same random numbers (dropout) and is differentiated. To autograd it is one
    operation whose gradient reaches each weight once: mixed precision, loss scaling, clipping and DistributedDataParallel, which
    would not bear a weight's gradient in parts, need to know nothing.

    Batch norm counts each chunk on its own, as it counts each process's clips, so with it the result depends on ``chunk_size``. Its
    running averages see each chunk once.

    Args:
        network: from [2B, ...] to [2B, D].
        x: both views of each clip, [2, B, ...], whose gradient is not needed. Both views of a clip share a chunk.
        chunk_size: clips per chunk.

    Returns:
        [2, B, D].

    Reference:
        Gao et al. 2021, section 3.2.
    """
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    result: Tensor = _Chunks.apply(network, x, chunk_size, *parameters)  # type: ignore[no-untyped-call]
    return result


class _Chunks(torch.autograd.Function):
    """The parameters are inputs, so that autograd hands their gradients on as those of any operation."""

    @staticmethod
    def forward(ctx: Any, network: nn.Module, x: Tensor, chunk_size: int, *parameters: Tensor) -> Tensor:
        device = x.device.type
        ctx.network, ctx.chunk_size = network, chunk_size
        # Without its cache of cast weights, which here would be cast without a graph.
        ctx.autocast = {
            "device_type": device,
            "dtype": torch.get_autocast_dtype(device),
            "enabled": torch.is_autocast_enabled(device),
            "cache_enabled": False,
        }
        ctx.save_for_backward(x, *parameters)
        ctx.states, results = [], []
        for chunk in x.split(chunk_size, dim=1):
            ctx.states.append(_random_state(x.device))
            with torch.autocast(**ctx.autocast):
                results.append(network(chunk.flatten(0, 1)).unflatten(0, (2, -1)))
        return torch.cat(results, dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, *parameters = ctx.saved_tensors
        chunks, grads = x.split(ctx.chunk_size, dim=1), grad.split(ctx.chunk_size, dim=1)
        sums: list[Tensor | None] = [None] * len(parameters)
        after = _random_state(x.device)
        for chunk, chunk_grad, state in zip(chunks, grads, ctx.states, strict=True):
            _set_random_state(x.device, state)
            with torch.enable_grad(), torch.autocast(**ctx.autocast), _running_averages_kept(ctx.network):
                result = ctx.network(chunk.flatten(0, 1))
            parts = torch.autograd.grad(result, parameters, chunk_grad.flatten(0, 1), allow_unused=True)
            sums = [part if total is None else total if part is None else total + part for total, part in zip(sums, parts, strict=True)]
        _set_random_state(x.device, after)
        return None, None, None, *sums


def _random_state(device: torch.device) -> tuple[Tensor, Tensor | None]:
    # Both live on the host: an accelerator's is a seed and a count, for which nobody waits.
    return torch.get_rng_state(), None if device.type == "cpu" else torch.get_device_module(device).get_rng_state()


def _set_random_state(device: torch.device, state: tuple[Tensor, Tensor | None]) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.get_device_module(device).set_rng_state(state[1])


@contextmanager
def _running_averages_kept(network: nn.Module) -> Iterator[None]:
    """Batch norms count the batch as in training, but do not note it a second time."""
    norms = [module for module in network.modules() if isinstance(module, _NormBase) and module.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
