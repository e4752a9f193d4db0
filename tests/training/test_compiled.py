"""torch.compile in the loop: the same numbers, and a clear refusal where it can't work."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch._inductor import cpp_builder
from torch._inductor.exc import InvalidCxxCompiler

from nas.errors import ConfigError
from nas.training.compile import compiled
from nas.training.loop import train
from tests.models.tiny import built, tiny
from tests.training.parts import batch, livened, recipe


def test_without_a_compiler_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise InvalidCxxCompiler

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", none)
    refused = pytest.raises(ConfigError, match=r"recipe\.compile.*needs a C\+\+ compiler.*g\+\+")
    with refused, compiled(built(tiny()), torch.device("cpu"), enabled=True):
        pass


@pytest.mark.slow
@pytest.mark.parametrize("micro_batch", [None, 3])
def test_a_compiled_training_learns_the_same(micro_batch: int | None) -> None:
    """Losses of three updates, in float64."""

    class Once:
        def __len__(self) -> int:
            return 1

        def epoch(self, epoch: int, start_step: int = 0) -> Any:
            return iter([batch(tiny())])

    losses = {}
    for compile in (False, True):
        settings = recipe(
            **{"compile": compile, "micro_batch": micro_batch, "epochs": 3, "lr": 0.01},
            **{"warmup_steps": 0, "decay_before_end": (), "lr_batch": None},
        )
        model = livened(tiny())
        losses[compile] = [epoch.loss for epoch in train(model, Once(), settings, seed=0)]
        assert "features" not in vars(model)
    assert losses[True] == pytest.approx(losses[False], rel=1e-9)
    assert losses[True][2] < losses[True][0]
