"""Each meter against its definition and where its value is known."""

import math

import pytest
import torch

from pretrain.monitor.meters import alignment, effective_rank, embedding_std, uniformity


@pytest.fixture
def cloud() -> torch.Tensor:
    return torch.randn(400, 32, generator=torch.Generator().manual_seed(0))


def test_embedding_std_tells_a_sphere_from_a_point(cloud: torch.Tensor) -> None:
    assert embedding_std(cloud).item() == pytest.approx(1, abs=0.02)
    assert embedding_std(cloud[:1].expand(50, -1)).item() == pytest.approx(0, abs=1e-6)
    assert 0.05 < embedding_std(cloud + 10).item() < 0.2


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_effective_rank_of_equal_singular_values_is_their_number(rank: int) -> None:
    axes = torch.linalg.qr(torch.randn(16, rank, generator=torch.Generator().manual_seed(1)))[0]
    embeddings = torch.cat([axes.T, -axes.T]) * 5 + 3
    assert effective_rank(embeddings).item() == pytest.approx(rank, rel=1e-3)


def test_effective_rank_follows_its_definition(cloud: torch.Tensor) -> None:
    scaled = cloud * torch.logspace(0, -3, 32)
    singular = torch.linalg.svdvals((scaled - scaled.mean(0)).double())
    share = [float(value / singular.sum()) for value in singular]
    assert effective_rank(scaled).item() == pytest.approx(math.exp(-sum(p * math.log(p) for p in share)), rel=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e4])
def test_effective_rank_of_a_collapse_is_zero(value: float) -> None:
    assert effective_rank(torch.full((20, 6), value)).item() == 0


def test_alignment_is_the_squared_distance_on_the_sphere(cloud: torch.Tensor) -> None:
    assert alignment(cloud, cloud * 3).item() == pytest.approx(0, abs=1e-6)
    assert alignment(cloud, -cloud).item() == pytest.approx(4, rel=1e-5)
    assert alignment(torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 5.0]])).item() == pytest.approx(2)


def test_uniformity_follows_its_definition(cloud: torch.Tensor) -> None:
    some = torch.nn.functional.normalize(cloud[:12], dim=1).tolist()
    pairs = [(a, b) for i, a in enumerate(some) for b in some[i + 1 :]]
    potential = sum(math.exp(-2 * sum((x - y) ** 2 for x, y in zip(a, b, strict=True))) for a, b in pairs) / len(pairs)
    assert uniformity(cloud[:12] * 4).item() == pytest.approx(math.log(potential), rel=1e-4)
    assert uniformity(cloud[:1].expand(5, -1)).item() == pytest.approx(0, abs=1e-6)
    assert uniformity(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])).item() == pytest.approx(-8)
