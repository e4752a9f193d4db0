"""A head of another package's with a part for training alone, and genomes with and without it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, ClassVar, Literal, Self

from torch import Tensor, nn

from nas.genome import Genome, Unit
from nas.genome.network import BatchNorm
from nas.genome.parts import SSDHead
from nas.models.heads.anchor_head import RawOutputs
from nas.models.heads.ssd import SSD

BOXES = {"type": "default_boxes", "scale": 0.2, "next_scale": 0.4}


class GuidedHead(SSDHead):
    """SSD's head, and a guide that learns from maps for training alone."""

    type: Literal["guided"] = "guided"  # type: ignore[assignment]

    trains_apart: ClassVar[bool] = True

    def anchored(self, maps: int, training_only: Collection[int]) -> int:
        return maps - len(training_only)


class Guided(SSD):
    """Its module."""

    def __init__(
        self, head: Any, unit: Unit, num_classes: int, norm: BatchNorm, image_size: int
    ) -> None:
        self_reads = [i for i in range(len(unit.ins)) if i not in unit.unshipped]
        shipped = unit._replace(ins=tuple(unit.ins[i] for i in self_reads))
        super().__init__(head, shipped, num_classes, norm, image_size)
        self.shipped, self.unshipped = self_reads, unit.unshipped
        guides = [nn.Conv2d(unit.ins[i].channels, 1, 1) for i in unit.unshipped]
        self.guides: nn.ModuleList | None = nn.ModuleList(guides)

    def forward(self, maps: Sequence[Tensor]) -> RawOutputs:
        return super().forward([maps[i] for i in self.shipped] if self.training else maps)

    def losses(
        self,
        maps: Sequence[Tensor],
        boxes: Tensor,
        labels: Tensor,
        positives: int | None = None,
    ) -> dict[str, Tensor]:
        losses = super().losses(maps, boxes, labels, positives)
        count = max(1, self.positives(boxes, labels) if positives is None else positives)
        assert self.guides is not None
        outputs = [guide(maps[i]) for guide, i in zip(self.guides, self.unshipped, strict=True)]
        guided = sum((out**2).mean(dim=(1, 2, 3)).sum() for out in outputs)
        return {**losses, "guide": guided / count}

    def deployed(self) -> Self:
        self.guides = None
        return self


def genome(*, guided: bool) -> Genome:
    """A column of five blocks; guided, with a sixth, `coach`, that only training reads."""
    column = {"type": "conv", "width": 16, "stride": 2}
    blocks: list[Any] = []
    for level in range(1, 6):
        inputs = [{"block": blocks[-1]["id"] if blocks else "image"}]
        blocks.append({"id": f"b{level}", "level": level, "op": column, "inputs": inputs})
    taps: list[Any] = [{"block": block["id"]} for block in blocks[2:]]
    head = {"type": "ssd", "anchors": [BOXES] * 3}
    if guided:
        op = {"type": "conv", "width": 24, "stride": 2}
        blocks.append({"id": "coach", "level": 3, "op": op, "inputs": [{"block": "b2"}]})
        taps.append({"block": "coach", "training_only": True})
        head["type"] = "guided"
    return Genome.model_validate(
        {"input": {"size": 64}, "blocks": blocks, "taps": taps, "neck": {"type": "none"}}
        | {"head": head}
    )
