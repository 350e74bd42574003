"""NT-Xent against the paper's formula, pair by pair, and where precision or processes could spoil it."""

import math

import pytest
import torch
from torch import Tensor

from pretrain.loss import contrastive_accuracy, nt_xent


def slow_nt_xent(z1: Tensor, z2: Tensor, temperature: float, same: Tensor | None = None) -> float:
    """Chen et al. 2020, equation 1, term by term, in Python's own numbers."""
    size = len(z1)
    views = [[float(value) for value in view] for view in (*z1, *z2)]

    def similarity(a: list[float], b: list[float]) -> float:
        norms = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
        return sum(x * y for x, y in zip(a, b, strict=True)) / norms

    total = 0.0
    for i in range(2 * size):
        partner = (i + size) % (2 * size)
        denominator = 0.0
        for k in range(2 * size):
            false_negative = same is not None and k != partner and bool(same[i % size, k % size]) and i % size != k % size
            if k != i and not false_negative:
                denominator += math.exp(similarity(views[i], views[k]) / temperature)
        total -= math.log(math.exp(similarity(views[i], views[partner]) / temperature) / denominator)
    return total / (2 * size)


def embeddings(size: int, width: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z1, z2 = torch.randn(2, size, width, generator=generator, dtype=torch.float64) * 3
    return z1, z2


@pytest.mark.parametrize("size", [1, 2, 7])
@pytest.mark.parametrize("width", [2, 16])
@pytest.mark.parametrize("temperature", [0.05, 0.5, 2.0])
def test_equals_the_paper(size: int, width: int, temperature: float) -> None:
    z1, z2 = embeddings(size, width)
    assert nt_xent(z1, z2, temperature).item() == pytest.approx(slow_nt_xent(z1, z2, temperature), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_equals_the_paper_without_false_negatives(temperature: float) -> None:
    z1, z2 = embeddings(6, 4)
    recording = torch.tensor([0, 1, 0, 2, 2, 0])
    same = recording.unsqueeze(0) == recording.unsqueeze(1)
    assert nt_xent(z1, z2, temperature, same).item() == pytest.approx(slow_nt_xent(z1, z2, temperature, same), rel=1e-9)
    assert nt_xent(z1, z2, temperature, same) < nt_xent(z1, z2, temperature)


def test_does_not_depend_on_the_order_of_clips_or_the_length_of_projections() -> None:
    z1, z2 = embeddings(8, 5)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(1))
    loss = nt_xent(z1, z2, 0.2)
    assert torch.isclose(nt_xent(z1[order], z2[order], 0.2), loss)
    assert torch.isclose(nt_xent(z1 * 7, z2 * 0.01, 0.2), loss)


def test_is_zero_where_no_view_has_a_negative() -> None:
    z1, z2 = embeddings(3, 4)
    assert nt_xent(z1, z2, 0.1, torch.ones(3, 3, dtype=torch.bool)).item() == pytest.approx(0, abs=1e-6)


def test_gradients() -> None:
    z1, z2 = (z.requires_grad_() for z in embeddings(4, 3))
    same = torch.zeros(4, 4, dtype=torch.bool)
    same[0, 2] = same[2, 0] = True
    assert torch.autograd.gradcheck(lambda a, b: nt_xent(a, b, 0.3, same), (z1, z2))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_stays_finite_and_exact_in_low_precision(dtype: torch.dtype) -> None:
    z1, z2 = (z.to(dtype) for z in embeddings(16, 8))
    opposite = torch.cat([z1, -z1]).requires_grad_()
    loss = nt_xent(opposite, -opposite.detach(), 0.01)
    loss.backward()
    assert loss.dtype == torch.float32 and torch.isfinite(loss)
    assert torch.isfinite(opposite.grad).all()
    # A partner at similarity -1 beside a negative at +1 costs 2 / temperature.
    assert loss.item() == pytest.approx(200, abs=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        autocast = nt_xent(z1, z2, 0.01)
    assert autocast.item() == pytest.approx(nt_xent(z1.double(), z2.double(), 0.01).item(), rel=1e-4)


def test_accuracy_counts_the_views_that_find_their_partner() -> None:
    z1 = torch.eye(3)
    z2 = torch.tensor([[1.0, 0.1, 0.0], [0.1, 1.0, 0.0], [1.0, 0.0, 0.3]])
    # Only the third clip's second view is nearer to another clip, the first, than to its partner: 5 of 6 are right.
    assert contrastive_accuracy(z1, z1).item() == 1
    assert contrastive_accuracy(z1, z2).item() == pytest.approx(5 / 6)
    third_is_first = torch.tensor([[1, 0, 1], [0, 1, 0], [1, 0, 1]]).bool()
    assert contrastive_accuracy(z1, z2, third_is_first).item() == 1
