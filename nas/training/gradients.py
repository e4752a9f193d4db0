"""The gradient of a global batch, added up from its parts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nas.models.losses import LossSums
from nas.training.distributed import Workers


class GradientSums:
    """Adds up the gradients and the loss terms of a batch's parts.

    Losses that are divided already add up in the weights' own gradients. Of undivided ones the
    divisors D are known only behind the last part: each has a buffer of gradients g, and at the
    end a weight's gradient is Σ g / D.

    Attributes:
        parts: this worker's parts, as slices of its share, with the loss of each.
    """

    def __init__(self, model: nn.Module, scaler: torch.amp.GradScaler) -> None:
        self.parts: list[tuple[slice, Tensor]] = []
        self._model, self._scaler = model, scaler
        self._weights = [weight for weight in model.parameters() if weight.requires_grad]
        self._terms: dict[str, Tensor] = {}
        self._divisors: dict[str, Tensor] = {}
        self._least = 0.0
        self._buffers: dict[str, list[Tensor | None]] = {}

    def add(self, rows: slice, losses: LossSums) -> None:
        """Runs a part's backward pass."""
        loss = torch.stack(list(losses.sums.values())).sum()
        if losses.divisors:
            self._add_undivided(losses)
        else:
            self._scaler.scale(loss).backward()
        self.parts.append((rows, loss.detach()))
        _add_to(self._terms, losses.sums)

    def finish(self, workers: Workers) -> dict[str, Tensor]:
        """Leaves the whole batch's gradient at the weights; returns the whole batch's terms."""
        if self._buffers:
            divisors = workers.totals(self._divisors)
            undivided = LossSums(self._terms, divisors, self._least)
            for weight, *gradients in zip(self._weights, *self._buffers.values(), strict=True):
                shares = [
                    undivided.over(name, gradient)
                    for name, gradient in zip(self._buffers, gradients, strict=True)
                    if gradient is not None
                ]
                weight.grad = sum(shares[1:], start=shares[0]) if shares else None
            self._terms = undivided.divided().sums
        workers.sum_gradients(self._model)
        return workers.totals(self._terms)

    def _add_undivided(self, losses: LossSums) -> None:
        """Runs one backward pass for each divisor, into its buffer."""
        groups = losses.by_divisor()
        for number, (name, loss) in enumerate(groups.items(), start=1):
            # Autograd adds to what hangs at the weights: let that be this divisor's buffer.
            for weight, gradient in zip(self._weights, self._buffers.get(name, ()), strict=False):
                weight.grad = gradient
            if loss.requires_grad:  # not where nothing of this part takes part
                self._scaler.scale(loss).backward(retain_graph=number < len(groups))
            self._buffers[name] = [weight.grad for weight in self._weights]
            for weight in self._weights:
                weight.grad = None
        _add_to(self._divisors, losses.divisors)
        self._least = losses.least


def _add_to(totals: dict[str, Tensor], values: dict[str, Tensor]) -> None:
    """Adds values without their graph to totals of the same names."""
    for name, value in values.items():
        totals[name] = totals[name] + value.detach() if name in totals else value.detach()
