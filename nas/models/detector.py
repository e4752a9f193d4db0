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
from nas.models.heads.base import RawOutputs
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

    ``model(images, targets)`` follows torchvision: a list of ``(3, H, W)`` floats in 0…1 of any
    size, and in training a list of ``{"boxes": (n, 4), "labels": (n,)}``; it returns a dict of
    losses in training, and a list of ``{"boxes", "labels", "scores"}`` in evaluation.
    ``losses`` and ``detect`` are the same for batches that have the input's size already.
    """

    head: Any  # a nas.models.heads.base.Head; its parts are its type's own

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
        """The maps that the head reads, finest first, from a normalised ``(B, 3, S, S)`` batch.

        In evaluation, those for training alone are left out, and what only they need isn't run.
        """
        steps, maps = self.steps, self.maps
        if not self.training:
            steps, maps = self._shipped_steps, self._shipped_maps
        values = {Port(IMAGE): images}
        for name, inputs in steps:
            found = self.body[name](*(values[port] for port in inputs))
            outputs = found if isinstance(found, tuple) else (found,)
            values.update((Port(name, i), output) for i, output in enumerate(outputs))
        return [values[port] for port in maps]

    def raw(self, images: Tensor) -> RawOutputs:
        """Logits and box codes of ``(B, 3, S, S)`` pictures, uint8 or float in 0…1."""
        out: RawOutputs = self.head(self.features(self.normalize(images)))
        return out

    def losses(
        self, images: Tensor, boxes: Tensor, labels: Tensor, positives: int | None = None
    ) -> dict[str, Tensor]:
        """Losses of a batch at the input's size.

        Args:
            images: ``(B, 3, S, S)`` uint8, or float in 0…1.
            boxes: ``(B, M, 4)`` x1, y1, x2, y2 in pixels of the input, padded.
            labels: ``(B, M)`` in 1…num_classes − 1, 0 where padded.
            positives: of the larger batch that this is a part of, so that the losses of all
                parts add up to its losses; None: of this batch.
        """
        maps = self.features(self.normalize(images))
        terms: dict[str, Tensor] = self.head.losses(maps, boxes, labels, positives)
        return terms

    @torch.no_grad()
    def positives(self, boxes: Tensor, labels: Tensor) -> int:
        """Number of positive anchors, all that the losses' divisor depends on.

        Found by matching alone, without the pictures.

        Args:
            boxes: ``(B, M, 4)`` x1, y1, x2, y2 in pixels of the input, padded.
            labels: ``(B, M)`` in 1…num_classes − 1, 0 where padded.
        """
        return len(self.head.match(boxes, labels).images)

    @torch.no_grad()
    def detect(self, images: Tensor) -> list[dict[str, Tensor]]:
        """Detections of ``(B, 3, S, S)`` pictures, boxes in pixels of the input."""
        found: list[dict[str, Tensor]] = self.head.decode(self.raw(images))
        return found

    def for_inference(self) -> Self:
        """A copy for evaluation alone: without what only training needs, batch norms folded.

        It gives the same, up to rounding, with fewer passes over maps.
        """
        still = accelerate(copy.deepcopy(self)).eval()
        still.steps, still.maps = still._shipped_steps, still._shipped_maps
        for name in set(still.body) - {name for name, _ in still.steps}:
            del still.body[name]
        fold_norms(still)
        still.head = still.head.for_inference()
        return still.to(memory_format=torch.channels_last)

    def forward(
        self,
        images: Sequence[Tensor],
        targets: Sequence[Mapping[str, Tensor]] | None = None,
    ) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """See the class.  Raises ValueError in training without targets."""
        batch, scales = self._resized(images)
        if not self.training:
            found = self.detect(batch)
            for detections, scale, image in zip(found, scales, images, strict=True):
                height, width = image.shape[-2:]
                edge = scale.new_tensor([width, height, width, height])
                detections["boxes"] = torch.minimum(detections["boxes"] / scale, edge)
            return found
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
