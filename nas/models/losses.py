"""What heads' losses are made of, over a whole batch, without a loop over images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class LossSums:
    """The losses of a part of a batch, not yet divided by what depends on the whole batch.

    Attributes:
        sums: a scalar for each loss term, summed over the images.
        divisors: a scalar for each term, without gradient: this part's share of what divides the
            term. Terms that are given the same tensor share a gradient. Empty where the sums are
            divided already.
        least: a divisor of the whole batch is at least this.
    """

    sums: dict[str, Tensor]
    divisors: dict[str, Tensor] = field(default_factory=dict)
    least: float = 1.0

    def divided(self, divisors: Mapping[str, Tensor] | None = None) -> LossSums:
        """Divides each sum that has a divisor.

        Args:
            divisors: of the whole batch, by term; without them this part is the whole.
        """
        whole = LossSums(self.sums, dict(divisors or self.divisors), self.least)
        return LossSums({name: whole.over(name, total) for name, total in self.sums.items()})

    def over(self, name: str, value: Tensor) -> Tensor:
        """Divides a value by a term's divisor, where it has one."""
        if name not in self.divisors:
            return value
        return value / self.divisors[name].detach().clamp(min=self.least).to(value)

    def by_divisor(self) -> dict[str, Tensor]:
        """Adds up the sums that share a divisor; each is called as the first of its terms."""
        names: dict[int, str] = {}
        totals: dict[str, Tensor] = {}
        for name, total in self.sums.items():
            first = names.setdefault(id(self.divisors[name]), name)
            totals[first] = totals[first] + total if first in totals else total
        return totals


class _Focal(torch.autograd.Function):
    """The focal loss with its gradient written by hand.

    Nearly all of a detector's logits are of absent classes, whose loss (1 − α) p^γ softplus(x)
    has the gradient (1 − α) p^γ (p + γ (1 − p) softplus(x)) with p = σ(x). The few present ones
    are mended in place. That takes half the passes over memory that recorded operations would.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, positives: Tensor, alpha: float, gamma: float) -> Tensor:
        p = torch.sigmoid(logits)
        softplus = F.softplus(logits)
        weight = p.sqrt().mul_(p) if gamma == 1.5 else p.pow(gamma)
        loss = (1 - alpha) * torch.dot(weight.flatten(), softplus.flatten())
        # At the present: −x has the same formula, with α for 1 − α.
        x = logits.flatten()[positives]
        q = torch.sigmoid(-x)
        as_present = alpha * q.pow(gamma) * F.softplus(-x)
        as_absent = (1 - alpha) * weight.flatten()[positives] * softplus.flatten()[positives]
        slope = -alpha * q.pow(gamma) * (q + gamma * (1 - q) * F.softplus(-x))
        softplus.mul_(1 - p)
        gradient = p.add_(softplus, alpha=gamma).mul_(weight).mul_(1 - alpha)
        gradient.view(-1)[positives] = slope
        ctx.save_for_backward(gradient)
        return loss + (as_present - as_absent).sum()

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * outer[0], None, None, None


def focal_sum(logits: Tensor, positives: Tensor, alpha: float, gamma: float) -> Tensor:
    """Computes the sigmoid focal loss, summed.

    Args:
        logits: contiguous, any shape.
        positives: `(P,)` indices into the flattened logits whose class is present, each once.
        alpha: weight of the present class, 1 − α of the absent.
        gamma: focus on what is predicted badly.

    Returns:
        A scalar: −α (1 − p)^γ log p over the positives, −(1 − α) p^γ log(1 − p) over the rest.
    """
    loss: Tensor = _Focal.apply(logits, positives, alpha, gamma)
    return loss


def huber_sum(predicted: Tensor, target: Tensor, delta: float) -> Tensor:
    """Computes the Huber loss, summed over the entries whose target isn't exactly 0.

    The authors' code masks by `target != 0`, so a coordinate that fits exactly isn't learnt.
    """
    loss = F.huber_loss(predicted, target, reduction="none", delta=delta)
    return (loss * (target != 0)).sum()


def hardest_negatives(losses: Tensor, positive: Tensor, ratio: float) -> tuple[Tensor, Tensor]:
    """Chooses the negatives of each image that the classifier gets most wrong.

    Args:
        losses: `(B, A)` of every anchor, were it background.
        positive: `(B, A)` bool.
        ratio: negatives for each positive of the same image, rounded up; an image without
            positives has none.

    Returns:
        Indices of images and of anchors, `(N,)` each. Never a positive: where the negatives
        don't suffice there are fewer.
    """
    quota = (ratio * positive.sum(dim=1)).ceil()
    most = min(int(quota.max()), losses.shape[1])
    values, places = losses.masked_fill(positive, -math.inf).topk(most, dim=1)
    rank = torch.arange(most, device=losses.device)
    images, columns = ((rank < quota[:, None]) & (values > -math.inf)).nonzero(as_tuple=True)
    return images, places[images, columns]
