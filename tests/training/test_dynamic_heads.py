"""A head that divides by what it predicts: its gradients are those of the whole batch, always."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, distributed

from nas.models import Detector
from nas.models.draws import DrawsByImage
from nas.models.heads.base import DynamicHead
from nas.models.heads.retinanet import RetinaNet
from nas.models.losses import LossSums
from nas.training.distributed import Workers
from nas.training.freezing import set_training
from tests.models.tiny import tiny
from tests.training.parts import assert_close, batch, gradients, livened, recipe


class ByPredictions(DynamicHead, RetinaNet, DrawsByImage):
    """Anchors learn by their own scores; three terms over two divisors, and a sampled one."""

    def loss_sums(self, maps: Any, boxes: Tensor, labels: Tensor) -> LossSums:
        terms = self.terms_of(maps, labels)
        scores, count = terms.pop("scores").sum(), terms.pop("count").sum()
        sums = {name: value.sum() for name, value in terms.items()}
        return LossSums(sums, {"classes": scores, "boxes": count, "sampled": scores}, least=0.5)

    def terms_of(self, maps: Any, labels: Tensor) -> dict[str, Tensor]:
        """Of each image: three loss terms, a sum of scores, and a count of high ones."""
        raw = self(maps)
        chosen = (raw.logits > raw.logits.mean(dim=(1, 2), keepdim=True)).detach()
        few = self.draw(lambda n: torch.rand(n, raw.logits.shape[1]), len(labels)) < 0.3
        return {
            "classes": (raw.logits**2 * chosen).sum(dim=(1, 2)),
            "boxes": raw.deltas.abs().sum(dim=(1, 2)) * (labels > 0).any(dim=1),
            "sampled": (raw.logits.sigmoid() * few[..., None].to(raw.logits)).sum(dim=(1, 2)),
            "scores": raw.logits.sigmoid().sum(dim=(1, 2)).detach(),
            "count": chosen.sum(dim=(1, 2)),
        }


def dynamic(**options: Any) -> Detector:
    model = livened(tiny(), **options)
    model.head.__class__ = ByPredictions
    return model


def by_autograd() -> tuple[dict[str, Tensor], Tensor]:
    """The whole batch at once, divided by hand."""
    model, share = dynamic(drop_path=0.3), batch(tiny())
    set_training(model, recipe())
    torch.manual_seed(2)
    assert isinstance(model.head, ByPredictions)
    terms = model.head.terms_of(model.features(model.normalize(share.images)), share.labels)
    scores, count = terms["scores"].sum(), terms["count"].sum()
    assert scores > 1 and count > 1 and abs(scores - count) > 1
    loss = (terms["classes"].sum() + terms["sampled"].sum()) / scores + terms["boxes"].sum() / count
    weights = dict(model.named_parameters())
    values = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
    return {n: g for n, g in zip(weights, values, strict=True) if g is not None}, loss.detach()


@pytest.mark.parametrize("micro_batch", [None, 4, 3])
def test_one_two_and_three_micro_batches(micro_batch: int | None) -> None:
    expected, loss = by_autograd()
    found, total = gradients(dynamic(drop_path=0.3), recipe(micro_batch=micro_batch))
    assert total.item() == pytest.approx(loss.item(), rel=1e-9)
    assert_close(found, expected)


def of_one(rank: int, file: str, micro_batch: int | None) -> dict[str, np.ndarray]:
    distributed.init_process_group("gloo", f"file://{file}", rank=rank, world_size=2)
    try:
        settings = recipe(micro_batch=micro_batch)
        found, loss = gradients(dynamic(drop_path=0.3), settings, Workers(rank, 2))
        return {name: tensor.numpy() for name, tensor in {**found, "": loss}.items()}
    finally:
        distributed.destroy_process_group()


@pytest.mark.parametrize("micro_batch", [None, 3])
def test_two_workers(tmp_path: Path, micro_batch: int | None) -> None:
    """Three and four images; in threes one worker has one part, the other two."""
    expected, loss = by_autograd()
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        file = str(tmp_path / "meeting")
        waiting = [pool.submit(of_one, rank, file, micro_batch) for rank in range(2)]
        results = [answer.result(timeout=300) for answer in waiting]
    for result in results:
        found = {name: torch.from_numpy(value) for name, value in result.items()}
        assert found.pop("").item() == pytest.approx(loss.item(), rel=1e-9)
        assert_close(found, expected)


def test_a_divisor_is_at_least_what_the_head_says() -> None:
    sums = {"a": torch.tensor(3.0), "b": torch.tensor(5.0)}
    divisors = {"a": torch.tensor(0.25), "b": torch.tensor(2)}
    divided = LossSums(sums, divisors, least=0.5).divided().sums
    assert divided == {"a": torch.tensor(6.0), "b": torch.tensor(2.5)}


def test_terms_with_one_divisor_share_a_gradient() -> None:
    one, other = torch.tensor(1.0), torch.tensor(1.0)
    sums = {name: torch.tensor(value) for name, value in [("a", 1.0), ("b", 2.0), ("c", 4.0)]}
    groups = LossSums(sums, {"a": one, "b": other, "c": one}).by_divisor()
    assert {name: value.item() for name, value in groups.items()} == {"a": 5.0, "b": 2.0}
