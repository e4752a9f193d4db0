"""A batch computed in micro-batches has the gradient of the whole, for both kinds of heads."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from nas.errors import ConfigError
from nas.training.freezing import freeze, set_training
from nas.training.loop import train
from nas.training.requirements import check_workers
from tests.models.tiny import built, tiny
from tests.training.parts import HEADS, assert_close, batch, gradients, livened, recipe


@pytest.mark.parametrize("micro_batch", [1, 3, 6])
@pytest.mark.parametrize("head", HEADS)
def test_gradients_add_up_to_the_whole_batch_s(head: str, micro_batch: int) -> None:
    genome = HEADS[head]()
    expected, loss = gradients(livened(genome), recipe())
    found, sum_of_parts = gradients(livened(genome), recipe(micro_batch=micro_batch))
    torch.testing.assert_close(sum_of_parts, loss, rtol=1e-9, atol=0)
    assert_close(found, expected)


@pytest.mark.parametrize("head", HEADS)
def test_the_divisor_is_that_of_the_whole_batch(head: str) -> None:
    """Losses of the parts, each with its own divisor, don't add up to the batch's."""
    model = livened(HEADS[head]()).train()
    given = batch(model.genome)
    rows = [slice(0, 3), slice(3, 7)]
    counts = [model.positives(given.boxes[r], given.labels[r]) for r in rows]
    assert model.positives(given.boxes, given.labels) == sum(counts) and min(counts) > 0
    set_training(model, recipe())
    for divisor, adds_up in [((), False), ((sum(counts),), True)]:
        whole = model.losses(given.images, given.boxes, given.labels)
        parts = [
            model.losses(given.images[r], given.boxes[r], given.labels[r], *divisor) for r in rows
        ]
        for name, loss in whole.items():
            total = sum(part[name] for part in parts)
            assert (abs(total - loss) < 1e-9 * loss) == adds_up


def test_stochastic_depth_drops_the_same_pictures_in_parts() -> None:
    genome = tiny()
    expected, loss = gradients(livened(genome, drop_path=0.5), recipe())
    found, same = gradients(livened(genome, drop_path=0.5), recipe(micro_batch=2))
    assert same.item() == pytest.approx(loss.item(), rel=1e-9)
    assert_close(found, expected)
    _, without = gradients(livened(genome), recipe())
    assert without != loss


def test_an_update_in_parts_clips_the_whole_gradient() -> None:
    """Weights after two updates, clipped, with averages, are those of whole batches."""

    class Twice:
        def __len__(self) -> int:
            return 2

        def epoch(self, epoch: int, start_step: int = 0) -> Any:
            return iter([batch(tiny())] * 2)

    after = []
    for micro_batch in (None, 2):
        model = livened(tiny())
        settings = recipe(
            micro_batch=micro_batch,
            **{"epochs": 1, "warmup_steps": 0, "decay_before_end": ()},
            **{"lr": 0.01, "lr_batch": None, "clip_norm": 0.1, "ema": 0.5},
        )
        list(train(model, Twice(), settings, seed=0))
        after.append(model.state_dict())
    first = livened(tiny()).state_dict()
    moved = [name for name in first if not torch.equal(first[name], after[0][name])]
    assert len(moved) > 100
    for name in first:
        torch.testing.assert_close(after[1][name], after[0][name], rtol=1e-7, atol=1e-12)


def test_frozen_parts_stay_and_their_batch_norms_too() -> None:
    genome = tiny()
    model = livened(genome)
    found, _ = gradients(model, recipe(frozen=("backbone", "head"), freeze_bn=False))
    assert found.keys() == {n for n, _ in model.named_parameters() if "body.endpoint" in n}
    modes = {n: m.training for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)}
    assert {mode for n, mode in modes.items() if n.startswith("body.endpoint")} == {True}
    assert {mode for n, mode in modes.items() if not n.startswith("body.endpoint")} == {False}
    found, _ = gradients(livened(genome), recipe(frozen=("b05",)))
    assert found and not [name for name in found if name.startswith(("body.b05.", "body.b05_e"))]


def test_parts_that_are_not_there_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"'b99', no part.*backbone, body, head, b00, b01"):
        freeze(built(tiny()), recipe(frozen=("b99",)))
    with pytest.raises(ConfigError, match="leaves nothing to learn"):
        freeze(built(tiny()), recipe(frozen=("body", "head")))
    with pytest.raises(ConfigError, match="freeze_bn leaves no statistics"):
        recipe(bn_batches=2)


def test_shares_that_cannot_be_are_refused() -> None:
    check_workers(recipe(batch_size=8, freeze_bn=False), 4)
    with pytest.raises(ConfigError, match="batch_size 7 can't be shared by 2 workers"):
        check_workers(recipe(), 2)
    for changes, workers in [({"batch_size": 4}, 4), ({"batch_size": 4, "micro_batch": 1}, 1)]:
        with pytest.raises(ConfigError, match="batch norm needs at least 2"):
            check_workers(recipe(freeze_bn=False, **changes), workers)
        check_workers(recipe(**changes), workers)
