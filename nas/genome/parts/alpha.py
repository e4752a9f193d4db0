"""SpineNet's cross-scale connection: reduce, change scale, expand."""

from __future__ import annotations

from typing import Literal, NamedTuple, Self

from nas.genome.maps import Map, Shape
from nas.genome.part import Activation, Fraction
from nas.genome.parts.cross_scale import CrossScaleResample
from nas.genome.parts.operation import max_pooled
from nas.genome.parts.resample import projected
from nas.genome.tape import Tape, Value


class Pooling(NamedTuple):
    """The one max-pool of a way down; `padding` None pads as TensorFlow does."""

    kernel: int
    stride: int
    padding: int | None

    def size(self, size: int) -> int:
        """Returns the side of what is left of a map."""
        if self.padding is None:
            return -(-size // self.stride)
        return (size + 2 * self.padding - self.kernel) // self.stride + 1


class AlphaResample(CrossScaleResample):
    """SpineNet's resampling: 1×1 to `alpha` of the parent's base width, scale, 1×1.

    Down by 2: one strided 3×3 convolution; further down: one max-pool after it. Up: nearest.
    Source: tensorflow/tpu, models/official/detection/modeling/architecture/spinenet.py.
    """

    type: Literal["alpha"] = "alpha"
    alpha: Fraction = 0.5
    activation: Activation = "relu"
    pool_padding: Literal["same", "symmetric"] = "same"

    def middle(self, source: Map) -> int:
        """Returns α of the parent's base width, truncated."""
        return max(1, int(source.base * self.alpha))

    def with_alpha(self, alpha: float) -> AlphaResample:
        """Returns the resampling with this α."""
        return self.replace(alpha=alpha)

    def pooling(self, size: int, target: int) -> Pooling | None:
        """Returns the max-pool behind the strided convolution, as the published code sizes it.

        It goes by real sizes: where they don't divide, the pool halves and nearest resizing does
        the rest.

        Args:
            size: side of the parent's map.
            target: side at the reader.
        """
        if size // target <= 2:
            return None
        stride = size // target // 2 if size % target == 0 else 2
        kernel = 3 if size / target <= 4 else 5
        return Pooling(kernel, stride, None if self.pool_padding == "same" else kernel // 2)

    def resolved(self) -> tuple[Self, frozenset[str]]:
        """Leaves out α and padding: `middle` and `detail` say what becomes of them."""
        return self, frozenset({"alpha", "pool_padding"})

    def detail(self, size: int, target: int) -> str:
        """Returns the padding of its pool, if it has one."""
        return self.pool_padding if size // target > 2 else ""

    def record(self, tape: Tape, x: Value, source: Shape, target: Shape, middle: int) -> Value:
        """Records a 1×1; down, a 3×3 and at most one pool; a 1×1, and nearest neighbours up."""
        x = tape.conv(x, middle, activation=self.activation)
        if target.level > source.level:
            x = tape.conv(x, middle, 3, 2, self.activation)
            pool = self.pooling(source.size, target.size)
            if pool is not None:
                kernel, stride, padding = pool
                x = max_pooled(tape, x, kernel, stride, pool.size(x.size), padding)
        return projected(tape, x, target)
