"""Memory counted before a run is what the run holds."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor

from nas.models import Detector, build
from nas.training.memory import activation_bytes, state_bytes
from nas.training.optimizer import make_optimizer
from nas.training.recipes import resolve
from search_spaces import zoo


def tiny() -> Detector:
    genome = zoo.genome("spinenet-49").scaled(width=0.0625, head_width=8, input_size=128)
    return build(genome, 4)


def held(model: Detector, images: Tensor) -> int:
    """Bytes that a real forward pass has saved, weights left out."""
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.raw(images)
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    return sum(
        t.untyped_storage().nbytes() for address, t in kept.items() if address not in weights
    )


def test_activations_are_those_of_a_real_pass() -> None:
    model = tiny().train()
    for images in (2, 4):
        real = held(model, torch.rand(images, 3, 128, 128))
        assert activation_bytes(model.genome, 4, images) == pytest.approx(real, rel=0.01)


@pytest.mark.parametrize("name", zoo.names())
def test_every_family_is_counted_without_computing(name: str) -> None:
    """At least what one of its convolutions must keep: the picture itself."""
    size = zoo.genome(name).input.size
    assert activation_bytes(zoo.genome(name), 4, 2) > 2 * 3 * size * size * 4


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "sgd", "lr": 0.1},
        {"optimizer": "sgd", "lr": 0.1, "momentum": 0.0},
        {"optimizer": "adamw", "ema": 0.9},
    ],
    ids=["momentum", "plain", "adamw"],
)
def test_state_is_what_an_optimiser_holds(changes: dict[str, Any]) -> None:
    model, recipe = tiny().train(), resolve("short", changes)
    optimizer = make_optimizer(model, recipe)
    sum(x.sum() for x in model.raw(torch.rand(2, 3, 128, 128))).backward()
    optimizer.step()
    tensors = [t for s in optimizer.state.values() for t in s.values() if isinstance(t, Tensor)]
    real = sum(tensor.nbytes for tensor in tensors if tensor.dim())  # without counters of steps
    found = state_bytes(model, recipe)
    assert found.moments == real
    assert found.gradients == sum(w.grad.nbytes for w in model.parameters() if w.grad is not None)
    whole = [*model.parameters(), *model.buffers()]
    assert found.weights == sum(tensor.nbytes for tensor in whole)
    assert found.average == (found.weights if recipe.ema else 0)


def test_the_peak_is_seen_after_it_is_gone() -> None:
    """In a process of its own: else memory that other tests freed is taken again."""
    program = (
        "import torch; from nas.training.memory import peak, reset_peak\n"
        "device = torch.device('cpu'); before = reset_peak(device)\n"
        "torch.ones(50_000_000).sum(); print(peak(device) - before)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert 0.9 * 2e8 < int(done.stdout) < 3e8, done.stderr
