"""The detector: a genome's units as modules, with torchvision's conventions outside."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from nas.data.resize import resize
from nas.errors import GenomeError
from nas.genome import Genome, Port, Unit, plan
from nas.genome.blocks import IMAGE
from nas.genome.units import deployed
from nas.models.blocks import FusedBlock
from nas.models.edges import build_edge
from nas.models.fast_cpu import accelerate
from nas.models.fold_bn import fold_norms
from nas.models.heads import build_head
from nas.models.heads.base import DynamicHead, Head
from nas.models.losses import LossSums
from nas.models.necks import build_neck
from nas.models.normalize import Normalize


def build(genome: Genome, num_classes: int, drop_path: float = 0.0) -> Detector:
    """Makes a trainable detector.

    Equal keys give equal parameter names and, after the same seed, equal first weights.

    Args:
        genome: any genome whose parts have models; it is validated first.
        num_classes: background counts, as in torchvision.
        drop_path: stochastic depth's rate of the last block; earlier ones get their share by rank.

    Raises:
        GenomeError: names the block, and what would be legal.
    """
    if num_classes < 2:
        raise GenomeError(f"num_classes={num_classes}; background counts, so give at least 2")
    return Detector(genome, num_classes, drop_path)


class Detector(nn.Module):
    """One module per unit of the plan.

    `model(images, targets)` follows torchvision: a list of `(3, H, W)` floats in 0…1 of any
    size, and in training a list of `{"boxes": (n, 4), "labels": (n,)}`; it returns a dict of
    losses in training, and a list of `{"boxes", "labels", "scores"}` in evaluation.
    `losses` and `detect` are the same for batches that have the input's size already.
    """

    head: Head[Any]

    def __init__(self, genome: Genome, num_classes: int, drop_path: float = 0.0) -> None:
        super().__init__()
        self.genome, self.num_classes = genome, num_classes
        units = plan(genome)
        for unit in units:
            unit.check_buildable()
        last = max((unit.block.rank or 0 for unit in units if unit.block), default=0)
        self.body = nn.ModuleDict()
        self.steps: list[tuple[str, tuple[Port, ...]]] = []
        expanded = {port.unit for unit in units for port in unit.inputs if port.output == 1}
        for unit in units[:-1]:
            rate = drop_path * (unit.block.rank or 0) / last if unit.block and last else 0.0
            self.body[unit.name] = _module(unit, genome, rate, unit.name in expanded)
            self.steps.append((unit.name, unit.inputs))
        self.head = build_head(units[-1], num_classes, genome.norm, genome.input.size)
        self.maps = units[-1].inputs
        shipped = deployed(units)
        self._shipped_steps = [(unit.name, unit.inputs) for unit in shipped[:-1]]
        self._shipped_maps = shipped[-1].inputs
        self.normalize = Normalize(genome)
        self.head.initialize(self.body)

    def features(self, images: Tensor) -> list[Tensor]:
        """Computes the maps that the head reads, finest first.

        In evaluation those for training alone are left out, and what only they need isn't run.

        Args:
            images: `(B, 3, S, S)`, normalised.
        """
        steps, maps = self.steps, self.maps
        if not self.training:
            steps, maps = self._shipped_steps, self._shipped_maps
        values = {Port(IMAGE): images}
        for name, inputs in steps:
            result = self.body[name](*(values[port] for port in inputs))
            outputs = result if isinstance(result, tuple) else (result,)
            values.update((Port(name, i), output) for i, output in enumerate(outputs))
        return [values[port] for port in maps]

    def raw(self, images: Tensor) -> Any:
        """Computes what the head predicts of images.

        Args:
            images: `(B, 3, S, S)` uint8, or float in 0…1.

        Returns:
            The head's raw outputs, a tuple of its own: of dense anchors logits and deltas.
        """
        return self.head(self.features(self.normalize(images)))

    def losses(
        self, images: Tensor, boxes: Tensor, labels: Tensor, positives: int | None = None
    ) -> dict[str, Tensor]:
        """Computes the losses of a batch at the input's size.

        Args:
            images: `(B, 3, S, S)` uint8, or float in 0…1.
            boxes: `(B, M, 4)` x1, y1, x2, y2 in pixels of the input, padded.
            labels: `(B, M)` in 1…num_classes − 1, 0 where padded.
            positives: of the global batch that this is a part of, so that the losses of all
                parts add up to its losses; None: of this batch.
        """
        maps = self.features(self.normalize(images))
        return self.head.losses(maps, boxes, labels, positives)

    @property
    def is_dynamic(self) -> bool:
        """Whether what divides its losses depends on its predictions."""
        return isinstance(self.head, DynamicHead)

    def loss_sums(self, images: Tensor, boxes: Tensor, labels: Tensor) -> LossSums:
        """Computes the undivided losses of a batch, of a head that `is_dynamic`.

        Args:
            images: as `losses` takes them.
            boxes: as `losses` takes them.
            labels: as `losses` takes them.
        """
        assert isinstance(self.head, DynamicHead)
        return self.head.loss_sums(self.features(self.normalize(images)), boxes, labels)

    @torch.no_grad()
    def positives(self, boxes: Tensor, labels: Tensor) -> int:
        """Returns the number that the losses' divisor depends on, counted without the images.

        Args:
            boxes: `(B, M, 4)` x1, y1, x2, y2 in pixels of the input, padded.
            labels: `(B, M)` in 1…num_classes − 1, 0 where padded.
        """
        return self.head.positives(boxes, labels)

    @torch.no_grad()
    def detect(self, images: Tensor) -> list[dict[str, Tensor]]:
        """Finds objects in `(B, 3, S, S)` images; boxes are in pixels of the input."""
        return self.head.postprocess(self.raw(images))

    def deployed(self) -> Self:
        """Returns a copy for evaluation alone.

        What only training needs is gone, batch norms are folded into convolutions. It gives the
        same, up to rounding, with fewer passes over maps.
        """
        copied = accelerate(copy.deepcopy(self)).eval()
        copied.steps, copied.maps = copied._shipped_steps, copied._shipped_maps
        for name in set(copied.body) - {name for name, _ in copied.steps}:
            del copied.body[name]
        fold_norms(copied)
        copied.head = copied.head.deployed()
        return copied.to(memory_format=torch.channels_last)

    def forward(
        self,
        images: Sequence[Tensor],
        targets: Sequence[Mapping[str, Tensor]] | None = None,
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Computes losses in training, detections in evaluation; see the class.

        Raises:
            ValueError: in training, without targets.
        """
        batch, scales = self._resized(images)
        if not self.training:
            results = self.detect(batch)
            for detections, scale, image in zip(results, scales, images, strict=True):
                height, width = image.shape[-2:]
                edge = scale.new_tensor([width, height, width, height])
                detections["boxes"] = torch.minimum(detections["boxes"] / scale, edge)
            return results
        if targets is None:
            raise ValueError("in training, give targets: a list of {'boxes', 'labels'}")
        boxes = [t["boxes"] * scale for t, scale in zip(targets, scales, strict=True)]
        padded = nn.utils.rnn.pad_sequence(boxes, batch_first=True)
        labels = nn.utils.rnn.pad_sequence([t["labels"] for t in targets], batch_first=True)
        return self.losses(batch, padded, labels)

    def _resized(self, images: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        size, rule = self.genome.input.size, self.genome.input.resize
        device = self.normalize.mean.device
        pictures, scales = [], []
        for image in images:
            pixels = (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
            resized, placement = resize(pixels, size, rule)
            pictures.append(torch.from_numpy(resized).permute(2, 0, 1))
            x, y = placement.scale_x, placement.scale_y
            scales.append(torch.tensor([x, y, x, y], dtype=torch.float32, device=device))
        return torch.stack(pictures).to(device), scales


def _module(unit: Unit, genome: Genome, drop_path: float, gives_expanded: bool) -> nn.Module:
    if unit.kind == "block":
        return FusedBlock(unit, genome.norm, drop_path, gives_expanded)
    if unit.kind == "edge":
        return build_edge(unit, genome.norm)
    return build_neck(unit, genome.norm)
