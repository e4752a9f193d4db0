"""What every head keeps to: losses, their division, detections, export, deployment."""

from __future__ import annotations

import abc
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from nas.cost import profile
from nas.data.coco import Category
from nas.genome import Genome
from nas.models import Detector, build
from nas.training.loop import train
from nas.training.recipes import resolve

_COLUMN = {"type": "conv", "width": 16, "stride": 2}


@dataclass
class _ImageBatch:
    """Images, boxes and labels of a step."""

    images: Tensor
    boxes: Tensor
    labels: Tensor


class _OneBatch:
    """An epoch of one batch."""

    def __init__(self, batch: _ImageBatch) -> None:
        self._batch = batch

    def __len__(self) -> int:
        return 1

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Any]:
        yield self._batch


class HeadSuite(abc.ABC):
    """Tests of a head, on small maps.

    Attributes:
        classes: with background.
        images: of a batch, one of which has no object.
    """

    classes: ClassVar[int] = 4
    images: ClassVar[int] = 5

    @abc.abstractmethod
    def make_part(self) -> Any:
        """Returns the head's part, or its JSON; it reads the maps of `make_genome`."""

    def make_genome(self) -> Genome:
        """Returns a genome with the head: by default on three maps of 16 channels, 8 to 2 px."""
        blocks: list[dict[str, Any]] = []
        for level in range(1, 6):
            source = blocks[-1]["id"] if blocks else "image"
            inputs = [{"block": source}]
            blocks.append({"id": f"b{level}", "level": level, "op": _COLUMN, "inputs": inputs})
        return Genome.model_validate(
            {
                "input": {"size": 64},
                "blocks": blocks,
                "taps": [{"block": block["id"]} for block in blocks[2:]],
                "neck": {"type": "none"},
                "head": self.make_part(),
            }
        )

    @pytest.fixture
    def model(self) -> Detector:
        """Returns a detector whose batch norms have statistics that differ."""
        torch.manual_seed(0)
        model = build(self.make_genome(), self.classes)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None and module.running_var is not None
                module.running_mean.normal_(std=0.2)
                module.running_var.uniform_(0.5, 1.5)
        return model

    @pytest.fixture
    def batch(self, model: Detector) -> _ImageBatch:
        """Returns images with 2, 1, 0, 2 and 1 objects, and so on."""
        draw = torch.Generator().manual_seed(1)
        size, count = model.genome.input.size, self.images
        images = torch.randint(0, 256, (count, 3, size, size), generator=draw, dtype=torch.uint8)
        corner = torch.rand(count, 2, 2, generator=draw) * size / 2
        sides = size * (0.2 + 0.3 * torch.rand(count, 2, 2, generator=draw))
        labels = torch.randint(1, self.classes, (count, 2), generator=draw)
        present = torch.tensor([[i % 3 < 2, i % 3 < 1] for i in range(count)])
        boxes = torch.cat([corner, corner + sides], dim=2) * present[..., None]
        return _ImageBatch(images, boxes, labels * present)

    def test_losses_are_finite_and_reach_every_weight(
        self, model: Detector, batch: _ImageBatch
    ) -> None:
        """Losses are finite scalars, and every weight of the head gets a finite gradient."""
        losses = model.train().losses(batch.images, batch.boxes, batch.labels)
        assert losses and all(loss.shape == () and loss.isfinite() for loss in losses.values())
        torch.stack(list(losses.values())).sum().backward()
        weights = dict(model.head.named_parameters())
        assert [name for name, weight in weights.items() if weight.grad is None] == []
        gradients = torch.cat([w.grad.flatten() for w in weights.values() if w.grad is not None])
        assert gradients.isfinite().all() and gradients.abs().max() > 0

    def test_a_batch_without_objects_has_losses(self, model: Detector, batch: _ImageBatch) -> None:
        """They are finite, with padding and without any row."""
        for boxes, labels in [
            (torch.zeros_like(batch.boxes), torch.zeros_like(batch.labels)),
            (batch.boxes[:, :0], batch.labels[:, :0]),
        ]:
            losses = model.train().losses(batch.images, boxes, labels)
            assert all(loss.isfinite() for loss in losses.values())

    @pytest.mark.parametrize("micro_batch", [1, 2, 3])
    def test_parts_add_up_to_the_whole_batch(
        self, model: Detector, batch: _ImageBatch, micro_batch: int
    ) -> None:
        """An update in micro-batches is that of the whole batch, to rounding, in float64."""
        whole = _updated(model, batch, None)
        parts = _updated(model, batch, micro_batch)
        before = dict(model.named_parameters())
        moved = 0
        for name, weight in whole.named_parameters():
            step = (weight - before[name]).detach()
            error = (parts.get_parameter(name) - weight).detach().norm()
            assert error <= 1e-7 * step.norm() + 1e-12, name
            moved += bool(step.norm() > 0)
        assert moved > 0

    def test_detections_have_the_usual_form(self, model: Detector, batch: _ImageBatch) -> None:
        """Boxes lie in the image, labels are classes, scores fall, and there are no others."""
        results = model.eval().detect(batch.images)
        assert len(results) == len(batch.images)
        for result in results:
            boxes, labels, scores = result["boxes"], result["labels"], result["scores"]
            count = len(scores)
            assert count <= model.head.settings.postprocess.detections
            assert boxes.shape == (count, 4) and labels.shape == scores.shape == (count,)
            assert labels.dtype == torch.int64 and boxes.dtype == scores.dtype == torch.float32
            assert ((labels >= 1) & (labels < self.classes)).all()
            assert (boxes >= 0).all() and (boxes <= model.genome.input.size).all()
            assert (boxes[:, 2:] >= boxes[:, :2]).all() and (scores.diff() <= 0).all()
            assert ((scores >= 0) & (scores <= 1)).all()

    def test_raw_outputs_have_names(self, model: Detector, batch: _ImageBatch) -> None:
        """There is a tensor for each name, and a row of it for each image."""
        raw = model.eval().raw(batch.images)
        assert len(raw) == len(model.head.raw_names)
        assert {len(tensor) for tensor in raw} == {len(batch.images)}

    def test_the_tail_finds_what_postprocess_finds(
        self, model: Detector, batch: _ImageBatch
    ) -> None:
        """A tail of the head's own, where it has one, gives the detections of `postprocess`."""
        tail = model.eval().head.export_tail()
        if tail is None:
            return
        with torch.no_grad():
            raw = model.raw(batch.images[:1])
            boxes, scores, labels = tail(*raw)
        (result,) = model.head.postprocess(raw)
        torch.testing.assert_close(boxes, result["boxes"])
        torch.testing.assert_close(scores, result["scores"])
        assert torch.equal(labels, result["labels"])

    def test_an_onnx_file_agrees(self, model: Detector, tmp_path: Path) -> None:
        """The file is written, which runs it and compares it with PyTorch."""
        onnx = pytest.importorskip("nas.formats.onnx.export")
        categories = [Category(10 * k, f"thing {k}") for k in range(1, self.classes)]
        agreement = onnx.write(model.eval(), categories, tmp_path / "model.onnx")
        assert agreement.raw.keys() == set(model.head.raw_names)

    def test_deployed_it_finds_the_same(self, model: Detector, batch: _ImageBatch) -> None:
        """A copy without what only training needs gives the same raw outputs and detections."""
        model = model.double().eval()
        deployed = model.deployed()
        with torch.no_grad():
            for value, expected in zip(
                deployed.raw(batch.images), model.raw(batch.images), strict=True
            ):
                torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-9)
        for result, usual in zip(
            deployed.detect(batch.images), model.detect(batch.images), strict=True
        ):
            assert torch.equal(result["labels"], usual["labels"])
            torch.testing.assert_close(result["boxes"], usual["boxes"], rtol=1e-4, atol=1e-3)

    def test_what_only_training_needs_is_not_shipped(
        self, model: Detector, batch: _ImageBatch
    ) -> None:
        """The weights that detections depend on are those that the profile counts."""
        model.eval().zero_grad()
        torch.stack([tensor.sum() for tensor in model.raw(batch.images)]).sum().backward()
        shipped = sum(w.numel() for w in model.parameters() if w.grad is not None)
        assert shipped == profile(model.genome, num_classes=self.classes).params


def _updated(model: Detector, batch: _ImageBatch, micro_batch: int | None) -> Detector:
    """Returns a copy after one update in float64, its batch norms frozen."""
    recipe = resolve(
        "spinenet_b",
        {
            **{"epochs": 1, "batch_size": len(batch.images), "micro_batch": micro_batch},
            **{"freeze_bn": True, "precision": "fp64", "threads": 1, "warmup_steps": 0},
            **{"decay_before_end": (), "lr": 0.01, "lr_batch": None, "weight_decay": 0.0},
        },
    )
    changed = copy.deepcopy(model)
    list(train(changed, _OneBatch(batch), recipe, seed=0))
    return changed.double()
