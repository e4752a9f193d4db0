"""Focal and Huber losses against torchvision's, torch's and numerical gradients."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from nas.models.losses import focal_sum, huber_sum


def case(dtype: torch.dtype = torch.float32, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, flat indices of the present classes, and the same as zeros and ones."""
    generator = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(2, 15, 7, generator=generator, dtype=dtype)
    positives = torch.randperm(logits.numel(), generator=generator)[:11]
    present = torch.zeros(logits.numel(), dtype=dtype)
    present[positives] = 1
    return logits, positives, present.reshape(logits.shape)


@pytest.mark.parametrize("alpha", [0.25, 0.7])
@pytest.mark.parametrize("gamma", [0.0, 1.5, 2.0])
def test_focal_loss_and_gradient_are_torchvision_s(alpha: float, gamma: float) -> None:
    logits, positives, present = case()
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    loss = focal_sum(ours, positives, alpha, gamma)
    expected = sigmoid_focal_loss(theirs, present, alpha=alpha, gamma=gamma, reduction="sum")
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    (3 * loss).backward()
    (3 * expected).backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 1.5, 2.0])
def test_focal_gradient_is_the_numerical_one(gamma: float) -> None:
    logits, positives, _ = case(torch.float64)

    def loss(x: Tensor) -> Tensor:
        return focal_sum(x, positives, 0.25, gamma)

    assert torch.autograd.gradcheck(loss, logits.requires_grad_())


def test_focal_loss_of_extreme_logits_is_finite() -> None:
    logits = torch.tensor([[-200.0, -30, 0, 30, 200]]).repeat(2, 1).requires_grad_()
    loss = focal_sum(logits, torch.arange(5), 0.25, 1.5)  # the first row is present
    loss.backward()
    assert logits.grad is not None
    assert loss.isfinite()
    assert logits.grad.isfinite().all()
    # At ±200 and ±30 the loss is |logit| times α or 1 − α, or nothing; at 0 it is ln 2 · 0.5^γ.
    ends = (0.25 + 0.75) * (200 + 30)
    middle = 0.5**1.5 * math.log(2)
    assert loss.item() == pytest.approx(ends + middle, abs=1e-2)


def test_focal_loss_without_positives() -> None:
    logits, _, _ = case()
    none = torch.zeros(0, dtype=torch.int64)
    expected = sigmoid_focal_loss(
        logits, torch.zeros_like(logits), alpha=0.25, gamma=1.5, reduction="sum"
    )
    torch.testing.assert_close(focal_sum(logits, none, 0.25, 1.5), expected)


@pytest.mark.parametrize("delta", [0.1, 1.0])
def test_huber_loss_is_torch_s_where_the_target_is_not_zero(delta: float) -> None:
    generator = torch.Generator().manual_seed(1)
    predicted = torch.randn(9, 4, generator=generator).requires_grad_()
    target = torch.randn(9, 4, generator=generator)
    target[2] = target[5, 1] = 0
    asked = target != 0
    expected = F.huber_loss(predicted[asked], target[asked], reduction="sum", delta=delta)
    torch.testing.assert_close(huber_sum(predicted, target, delta), expected)
    huber_sum(predicted, target, delta).backward()
    assert predicted.grad is not None
    assert not predicted.grad[2].any()
    assert predicted.grad[0].all()


def test_a_worked_huber_loss() -> None:
    """Errors 0.05 and 1 at δ 0.1: 0.05² / 2 and 0.1 · (1 − 0.05)."""
    loss = huber_sum(torch.tensor([[1.05, 3.0]]), torch.tensor([[1.0, 2.0]]), 0.1)
    assert float(loss) == pytest.approx(0.05**2 / 2 + 0.1 * 0.95)
