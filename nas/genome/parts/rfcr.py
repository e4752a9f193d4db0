"""YOLO-ReT's neck: raw feature collection and redistribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from nas.errors import GenomeError
from nas.genome.maps import Shape
from nas.genome.part import Activation, Kernel, Width
from nas.genome.parts.neck import Neck
from nas.genome.tape import Tape, Value


class RFCR(Neck):
    """YOLO-ReT's raw feature collection and redistribution.

    Every tap goes through its own 1×1 convolution to `collect` channels, is resampled to the
    size of tap `target`, summed with learnt factors, passes a depthwise `kernel` and a 1×1 to
    `fuse` channels, and is concatenated, resampled, to each of the taps in `outputs`.
    Source: prakharg24/yoloret, code/yolo3/model.py.
    """

    type: Literal["rfcr"] = "rfcr"
    collect: Width = 48
    fuse: Width = 96
    kernel: Kernel = 5
    target: Annotated[int, Field(ge=0)]
    outputs: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]
    activation: Activation = "relu6"

    reader: ClassVar[str] = "the RFCR neck"

    def shapes(self, maps: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """Returns the maps of `outputs`, each with `fuse` channels more."""
        for index in (self.target, *self.outputs):
            if index >= len(maps):
                raise GenomeError(
                    f"neck rfcr names tap {index}, but there are {len(maps)}; "
                    f"legal: 0 to {len(maps) - 1}"
                )
        self._check(maps)
        return tuple(
            Shape(maps[i].channels + self.fuse, maps[i].size, maps[i].level) for i in self.outputs
        )

    def _check(self, maps: Sequence[Shape]) -> None:
        if self.kernel % 2 == 0:
            raise GenomeError(
                f"neck rfcr has kernel {self.kernel}, which changes the size; legal: odd"
            )
        target = maps[self.target].size
        for index, shape in enumerate(maps):
            if max(shape.size, target) % min(shape.size, target):
                stride = 2 ** max(shape.level for shape in maps)
                raise GenomeError(
                    f"neck rfcr resamples map {index} of {shape.size} px to {target} px; legal: "
                    f"whole multiples, which an input of a multiple of {stride} px gives"
                )

    def check_taps(self, training_only: Sequence[bool]) -> None:
        """Refuses any."""
        if any(training_only):
            raise GenomeError("neck rfcr ships every tap; legal: no training_only tap")

    def record(self, tape: Tape, maps: Sequence[Value]) -> tuple[Value, ...]:
        """Records the weighted sum of all maps at one size, its filter, and the concatenations."""
        size = maps[self.target].size
        collected = [
            tape.weigh(_resampled(tape, tape.conv(x, self.collect, norm=False), size)) for x in maps
        ]
        fused = tape.depthwise(tape.add(collected), self.kernel, 1, self.activation)
        fused = tape.conv(fused, self.fuse, activation=self.activation)
        return tuple(
            [tape.concat([maps[i], _resampled(tape, fused, maps[i].size)]) for i in self.outputs]
        )


def _resampled(tape: Tape, x: Value, size: int) -> Value:
    """Records nearest neighbours up, or max pooling down."""
    if x.size <= size:
        return tape.resize(x, size)
    stride = x.size // size  # whole: other sizes are refused
    return tape.max_pool(x, stride, stride, size, (0, 0))
