"""The losses against their formulas and torch's own, and their behaviour on unknown targets and huge logits."""

import math

import pytest
import torch
import torch.nn.functional as F

from finetune.losses import masked_bce, masked_focal

NAN = float("nan")


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(40, 3, generator=generator) * 3
    targets = torch.randint(0, 2, (40, 3), generator=generator).float()
    return logits, targets, torch.tensor([0.5, 1.0, 4.0])


def test_bce_is_torchs_where_all_is_annotated(batch):
    logits, targets, weight = batch
    expected = F.binary_cross_entropy_with_logits(logits, targets, pos_weight=weight)
    torch.testing.assert_close(masked_bce(logits, targets, weight), expected)


def test_focal_is_the_papers_formula(batch):
    logits, targets, weight = batch
    total = 0.0
    for z, y, w in zip(logits.flatten().double(), targets.flatten(), weight.repeat(40), strict=True):
        p = 1 / (1 + math.exp(-z))
        total += -w * (1 - p) ** 2 * math.log(p) if y else -(p**2) * math.log(1 - p)
    assert masked_focal(logits, targets, 2.0, weight).item() == pytest.approx(float(total) / 120, rel=1e-5)


def test_focal_without_gamma_is_bce(batch):
    logits, targets, weight = batch
    soft = targets * 0.7 + 0.1
    torch.testing.assert_close(masked_focal(logits, soft, 0.0, weight), masked_bce(logits, soft, weight))


@pytest.mark.parametrize("loss", [masked_bce, masked_focal])
def test_an_unknown_target_adds_no_loss_and_no_gradient(batch, loss):
    logits, targets, _ = batch
    logits = logits.clone().requires_grad_()
    masked = targets.clone()
    masked[5:, 1] = NAN
    value = loss(logits, masked)
    value.backward()
    assert (logits.grad[5:, 1] == 0).all()
    assert (logits.grad[:5, 1] != 0).all()
    kept = torch.cat([logits[:, 0], logits[:5, 1], logits[:, 2]]).detach()
    torch.testing.assert_close(value.detach(), loss(kept[:, None], torch.cat([targets[:, 0], targets[:5, 1], targets[:, 2]])[:, None]))


@pytest.mark.parametrize("loss", [masked_bce, masked_focal])
def test_nothing_annotated_is_zero_with_a_gradient(loss):
    logits = torch.zeros(2, 2, requires_grad=True)
    value = loss(logits, torch.full((2, 2), NAN))
    value.backward()
    assert value.item() == 0
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("logit", [-1e4, 1e4])
def test_huge_logits_keep_loss_and_gradient_finite(gamma, logit):
    logits = torch.tensor([[logit, logit]], requires_grad=True)
    value = masked_focal(logits, torch.tensor([[0.0, 1.0]]), gamma)
    value.backward()
    assert value.item() == pytest.approx(1e4 / 2)
    assert torch.isfinite(logits.grad).all()


def test_half_precision_logits_give_a_float32_loss():
    value = masked_bce(torch.tensor([[12.0]], dtype=torch.bfloat16), torch.tensor([[1.0]]))
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(math.log1p(math.exp(-12)), rel=1e-4)
