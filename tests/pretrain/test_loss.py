"""NT-Xent against the paper's formula, pair by pair, and where blocks, precision or processes could spoil it."""

import math

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from pretrain.loss import contrastive_accuracy, nt_xent


def slow_nt_xent(z1: Tensor, z2: Tensor, temperature: float, codes: Tensor | None = None) -> float:
    """Chen et al. 2020, equation 1, term by term, in Python's own numbers; codes [V, B] bar clips with one in common."""
    size = len(z1)
    views = [[float(value) for value in view] for view in (*z1, *z2)]

    def similarity(a: list[float], b: list[float]) -> float:
        norms = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
        return sum(x * y for x, y in zip(a, b, strict=True)) / norms

    def false_negative(i: int, k: int) -> bool:
        return codes is not None and i % size != k % size and bool({*codes[:, i % size].tolist()} & {*codes[:, k % size].tolist()})

    total = 0.0
    for i in range(2 * size):
        partner = (i + size) % (2 * size)
        # Against the partner's, so that a small temperature does not overflow: a fraction may be cancelled.
        own = similarity(views[i], views[partner])
        others = [k for k in range(2 * size) if k != i and not false_negative(i, k)]
        total += math.log(sum(math.exp((similarity(views[i], views[k]) - own) / temperature) for k in others))
    return total / (2 * size)


def embeddings(size: int, width: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z1, z2 = torch.randn(2, size, width, generator=generator, dtype=torch.float64) * 3
    return z1, z2


CODES = {
    "none": None,
    "recording": torch.tensor([[0, 1, 0, 2, 2, 0, 3]]),
    "all": torch.zeros(1, 7, dtype=torch.int64),
    "two_recordings": torch.tensor([[0, 1, 2, 3, 4, 5, 6], [1, 7, 8, 3, 9, 2, 0]]),
}


def part(codes: Tensor | None, size: int) -> Tensor | None:
    return None if codes is None else codes[:, :size]


@pytest.mark.parametrize("size", [1, 2, 7])
@pytest.mark.parametrize("width", [2, 16])
@pytest.mark.parametrize("temperature", [0.01, 0.05, 0.5, 2.0])
@pytest.mark.parametrize("masked", CODES)
def test_equals_the_paper(size: int, width: int, temperature: float, masked: str) -> None:
    z1, z2 = embeddings(size, width)
    codes = part(CODES[masked], size)
    wanted = slow_nt_xent(z1, z2, temperature, codes)
    assert nt_xent(z1, z2, temperature, codes).item() == pytest.approx(wanted, rel=1e-9, abs=1e-12)
    if masked == "recording" and size == 7:
        assert wanted < slow_nt_xent(z1, z2, temperature)


@pytest.mark.parametrize("masked", CODES)
@pytest.mark.parametrize("block", [1, 3, 5, 13, 14, 99])
def test_blocks_change_neither_value_nor_gradient(masked: str, block: int) -> None:
    codes = CODES[masked]
    plain, blocks = (tuple(z.requires_grad_() for z in embeddings(7, 5)) for _ in range(2))
    whole, parts = nt_xent(*plain, 0.07, codes), nt_xent(*blocks, 0.07, codes, block=block)
    assert torch.allclose(parts, whole, rtol=0, atol=1e-9)
    whole.backward()
    parts.backward()
    for z, wanted in zip(blocks, plain, strict=True):
        assert torch.allclose(z.grad, wanted.grad, rtol=0, atol=1e-9) and wanted.grad.isfinite().all()
    assert contrastive_accuracy(*plain, codes, block=block) == contrastive_accuracy(*plain, codes)


class Largest(TorchDispatchMode):
    """Notes the size of the largest tensor that any operation returns."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        for each in torch.utils._pytree.tree_leaves(result):
            if isinstance(each, Tensor):
                self.numbers = max(self.numbers, each.numel())
        return result


def test_memory_grows_with_the_batch_and_not_its_square(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pretrain.similarity.BLOCK_NUMBERS", 2**14)
    codes = torch.arange(2048).unsqueeze(0) // 2
    z1, z2 = (z.float().requires_grad_() for z in embeddings(2048, 4))
    with Largest() as largest:
        nt_xent(z1, z2, 0.1, codes).backward()
        contrastive_accuracy(z1, z2, codes)
    # The views themselves, and a block: neither the matrix nor the mask, of 2^24.
    assert 2**14 <= largest.numbers <= 2**15
    with Largest() as largest:
        nt_xent(z1, z2, 0.1, codes, block=4096)
    assert largest.numbers >= 2**24


def test_parts_of_the_batch_average_to_the_whole() -> None:
    codes = CODES["recording"][:, :6]  # type: ignore[index]
    plain, shared = (tuple(z.requires_grad_() for z in embeddings(6, 5)) for _ in range(2))
    whole = nt_xent(*plain, 0.2, codes)
    parts = [nt_xent(*shared, 0.2, codes, own) for own in (slice(0, 2), slice(2, 4), slice(4, 6))]
    assert torch.allclose(torch.stack(parts).mean(), whole, rtol=0, atol=1e-12)
    assert not torch.allclose(parts[0], whole)
    whole.backward()
    torch.stack(parts).mean().backward()
    for z, wanted in zip(shared, plain, strict=True):
        assert torch.allclose(z.grad, wanted.grad, rtol=0, atol=1e-12)
    accuracies = [contrastive_accuracy(*shared, codes, own) for own in (slice(0, 3), slice(3, 6))]
    assert torch.stack(accuracies).mean() == contrastive_accuracy(*plain, codes)


def test_does_not_depend_on_the_order_of_clips_or_the_length_of_projections() -> None:
    z1, z2 = embeddings(8, 5)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(1))
    loss = nt_xent(z1, z2, 0.2)
    assert torch.isclose(nt_xent(z1[order], z2[order], 0.2), loss)
    assert torch.isclose(nt_xent(z1 * 7, z2 * 0.01, 0.2), loss)


def test_is_zero_where_no_view_has_a_negative() -> None:
    z1, z2 = embeddings(3, 4)
    assert nt_xent(z1, z2, 0.1, torch.zeros(1, 3, dtype=torch.int64)).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("block", [None, 3])
def test_gradients(block: int | None) -> None:
    z1, z2 = (z.requires_grad_() for z in embeddings(4, 3))
    codes = torch.tensor([[0, 1, 0, 2]])
    assert torch.autograd.gradcheck(lambda a, b: nt_xent(a, b, 0.3, codes, block=block), (z1, z2))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("block", [None, 10])
def test_stays_finite_and_exact_in_low_precision(dtype: torch.dtype, block: int | None) -> None:
    z1, z2 = (z.to(dtype) for z in embeddings(16, 8))
    opposite = torch.cat([z1, -z1]).requires_grad_()
    loss = nt_xent(opposite, -opposite.detach(), 0.01, block=block)
    loss.backward()
    assert loss.dtype == torch.float32 and torch.isfinite(loss)
    assert torch.isfinite(opposite.grad).all()
    # A partner at similarity -1 beside a negative at +1 costs 2 / temperature.
    assert loss.item() == pytest.approx(200, abs=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        autocast = nt_xent(z1, z2, 0.01, block=block)
    assert autocast.item() == pytest.approx(nt_xent(z1.double(), z2.double(), 0.01).item(), rel=1e-4)


@pytest.mark.parametrize("size", [2, 33, 256])
@pytest.mark.parametrize("width", [4, 128])
@pytest.mark.parametrize("how", ["random", "equal", "opposite", "zero"])
def test_is_finite_at_temperature_0_01_in_bf16(size: int, width: int, how: str) -> None:
    z1, z2 = (z.bfloat16() for z in embeddings(size, width))
    z2 = {"random": z2, "equal": z1.clone(), "opposite": -z1, "zero": torch.zeros_like(z1)}[how]
    z1.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = nt_xent(z1, z2, 0.01)
    loss.backward()
    assert 0 <= loss.item() <= math.log(2 * size - 1) + 200 + 1e-3
    assert z1.grad is not None and z1.grad.isfinite().all()


def test_accuracy_counts_the_views_that_find_their_partner() -> None:
    z1 = torch.eye(3)
    z2 = torch.tensor([[1.0, 0.1, 0.0], [0.1, 1.0, 0.0], [1.0, 0.0, 0.3]])
    # Only the third clip's second view is nearer to another clip, the first, than to its partner: 5 of 6 are right.
    assert contrastive_accuracy(z1, z1).item() == 1
    assert contrastive_accuracy(z1, z2).item() == pytest.approx(5 / 6)
    assert contrastive_accuracy(z1, z2, torch.tensor([[0, 1, 0]])).item() == 1


def test_a_recording_of_the_partner_is_no_negative_either() -> None:
    # The first clip's views come from recordings 0 and 1, the second's from 1 and 2: every pair of the two is barred.
    z1, z2 = embeddings(3, 4)
    both = nt_xent(z1, z2, 0.1, torch.tensor([[0, 1, 3], [1, 2, 3]]))
    assert torch.equal(both, nt_xent(z1, z2, 0.1, torch.tensor([[0, 0, 3]])))
