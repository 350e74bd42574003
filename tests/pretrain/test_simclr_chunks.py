"""A batch in chunks has the gradient of the whole batch, and the memory of one chunk."""

import copy
from functools import cache
from typing import Any

import pytest
import torch
from made_simclr import MeanBins, equal, learned, no_batch_norm
from torch import Tensor, nn

from common.augment.noise import MixClip
from pretrain.chunks import in_chunks
from pretrain.objectives import NTXent


class DropoutBins(MeanBins):
    """With dropout, so that each pass must draw the same numbers."""

    def feature_map(self, spectrogram: Tensor) -> Tensor:
        return nn.functional.dropout(super().feature_map(spectrogram), 0.3, self.training)


@cache
def trained(precision: str, chunk_size: int | None) -> list[dict[str, Tensor]]:
    """Gradients of each step, of which those of the whole batch are compared with all sizes of chunks."""
    settings: dict[str, Any] = {"waveform_augmentation": MixClip(p=0.5), "objective": NTXent(0.1), "chunk_size": chunk_size}
    return learned(no_batch_norm(**settings), precision=precision, gradient_clip_val=0.5)[0]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("chunk_size", [1, 3, 4])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_chunks_give_the_gradient_of_the_whole_batch(chunk_size: int, precision: str) -> None:
    # The sums of bf16 products are rounded to bf16 once per chunk.
    atol = 1e-5 if precision == "32-true" else 2e-2
    for found, wanted in zip(trained(precision, chunk_size), trained(precision, None), strict=True):
        assert wanted["encoder.layer.weight"].abs().max() > 1e-3
        equal(found, wanted, atol=atol)


def test_negatives_are_those_of_the_whole_batch() -> None:
    whole = learned(no_batch_norm())[2]["train/loss"]
    assert learned(no_batch_norm(chunk_size=2))[2]["train/loss"] == pytest.approx(whole, rel=1e-5)


def test_chunks_draw_the_same_dropout_in_both_passes() -> None:
    torch.manual_seed(0)
    network, x = DropoutBins(), torch.randn(2, 6, 1, 16, 4)
    torch.manual_seed(1)
    parts = [network(part.flatten(0, 1)).unflatten(0, (2, -1)) for part in x.split(2, dim=1)]
    after = torch.get_rng_state()
    torch.cat(parts, dim=1).square().sum().backward()
    wanted = {name: value.grad.clone() for name, value in network.named_parameters()}
    network.zero_grad()
    torch.manual_seed(1)
    result = in_chunks(network, x, 2)
    assert torch.equal(result, torch.cat(parts, dim=1)) and torch.equal(torch.get_rng_state(), after)
    result.square().sum().backward()
    equal({name: value.grad for name, value in network.named_parameters()}, wanted, atol=1e-6)
    assert torch.equal(torch.get_rng_state(), after)


def test_chunks_count_batch_norm_once_per_chunk() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    plain = copy.deepcopy(network)
    x = torch.randn(2, 6, 4)
    wanted = torch.cat([plain(part.flatten(0, 1)).unflatten(0, (2, -1)) for part in x.split(3, dim=1)], dim=1)
    wanted.pow(3).sum().backward()
    found = in_chunks(network, x, 3)
    found.pow(3).sum().backward()
    assert torch.equal(found, wanted)
    equal(network.state_dict(), plain.state_dict(), atol=0)
    grads = [{name: value.grad for name, value in each.named_parameters()} for each in (network, plain)]
    equal(*grads, atol=1e-5)
    assert network[1].track_running_stats and network[1].num_batches_tracked == 2


def test_chunks_keep_the_activations_of_one_chunk_only() -> None:
    alive, most = 0, 0

    class Counted(nn.Module):
        """A layer that notes how many clips' activations are kept for a backward pass."""

        def forward(self, x: Tensor) -> Tensor:
            nonlocal alive, most
            if torch.is_grad_enabled():
                alive += len(x)
                most = max(most, alive)
                x.register_hook(lambda grad: release(len(grad)))
            return x.tanh()

    def release(clips: int) -> None:
        nonlocal alive
        alive -= clips

    network = nn.Sequential(nn.Linear(4, 3), Counted())
    in_chunks(network, torch.randn(2, 32, 4), 4).sum().backward()
    assert (alive, most) == (0, 8)
