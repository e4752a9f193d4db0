"""The tape: which operators a part is, in the order in which they run.

Every part records itself on one (`record` of `nas.genome.parts`), and all that is counted or
timed is a fold over it: shapes and kernels give a device's times, what is learnt gives parameters
and stored bits. Batch norm has no operator, for every runtime folds it into the convolution before
it. What follows the raw outputs, decoding of boxes and non-maximum suppression, has none either.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from nas.genome.memo import remembered
from nas.genome.operators import Operator
from nas.genome.padding import PaddingRule, pads
from nas.genome.part import Activation


class Value(NamedTuple):
    """A map on its way between operators: its number, channels and side in pixels."""

    number: int
    channels: int
    size: int


class Learnt(NamedTuple):
    """What is learnt of an operator, and how published tables count its work.

    Attributes:
        weights: of a convolution's filters; each is multiplied at every one of `places`.
        others: biases, batch norms' factors and offsets, and factors of other kinds.
        places: of the map that published tables take the convolution at.
        bits: that a weight is stored in; others are always stored in 32.
        shared: whether an operator before it has the same weights, which are stored once.
    """

    weights: int = 0
    others: int = 0
    places: int = 0
    bits: int = 32
    shared: bool = False


NOTHING = Learnt()


class Step(NamedTuple):
    """An operator at work: the numbers of the values that it reads and of the one that it gives.

    Attributes:
        padding: pixels before and behind of a convolution or pooling.
        ends: whether a `flatten` gives this many values a box; 0 of any other.
        learnt: what is learnt of it, with the batch norm that is folded into it.
    """

    operator: Operator
    reads: tuple[int, ...]
    gives: int
    padding: tuple[int, int] = (0, 0)
    ends: int = 0
    learnt: Learnt = NOTHING


class Tape:
    """Records operators in the order in which they run.

    Example:
        >>> tape = Tape()
        >>> wide = tape.conv(tape.input(16, 160), 32, kernel=3, stride=2)
        >>> [step.operator.text for step in tape.steps]
        ['input 16@160 > 16@160', 'conv k3 s2 16@160 > 32@80']
    """

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._made = 0

    @property
    def operators(self) -> tuple[Operator, ...]:
        """Returns what was recorded, without the wiring."""
        return tuple([step.operator for step in self.steps])

    def value(self, channels: int, size: int) -> Value:
        """Returns a map that nothing recorded has made."""
        self._made += 1
        return Value(self._made - 1, channels, size)

    def input(self, channels: int, size: int) -> Value:
        """Records a map that is handed to the runtime."""
        value = self.value(channels, size)
        operator = Operator("input", channels, size, channels, size)
        self.steps.append(Step(operator, (), value.number))
        return value

    def output(self, value: Value) -> None:
        """Records that the runtime hands a map back."""
        self._plain("output", value)

    def conv(
        self,
        x: Value,
        channels: int,
        kernel: int = 1,
        stride: int = 1,
        activation: Activation = "none",
        *,
        padding: PaddingRule = None,
        dilation: int = 1,
        norm: bool = True,
        bias: bool = False,
        bits: int = 32,
        shared: bool = False,
        published_size: int | None = None,
    ) -> Value:
        """Records a full convolution, with batch norm, which runtimes fold, and activation.

        Args:
            x: What is read.
            channels: Channels that are given.
            kernel: Side of its window.
            stride: Of its window.
            activation: `none` records nothing.
            padding: Pixels on each side; None keeps the size of a map at stride 1; "same" pads as
                TensorFlow does.
            dilation: Of its window.
            norm: Whether a batch norm is learnt behind it.
            bias: Whether a bias is learnt.
            bits: Bits that a weight is stored in.
            shared: Whether the weights and the bias are an earlier convolution's.
            published_size: Side of the map that published tables count it at, where it isn't
                the one that it gives.
        """
        extent = dilation * (kernel - 1)
        if padding is None:  # nearly always
            before = after = extent // 2
        else:
            before, after = pads(padding, x.size, kernel, stride, dilation)
        size = (x.size + before + after - extent - 1) // stride + 1
        kind = _kind("conv", kernel, stride, dilation)
        others = 2 * channels * norm + channels * (bias and not shared)
        places = (size if published_size is None else published_size) ** 2
        learnt = Learnt(x.channels * channels * kernel**2, others, places, bits, shared)
        return self._filter(kind, x, channels, size, (before, after), learnt, activation)

    def depthwise(
        self,
        x: Value,
        kernel: int,
        stride: int = 1,
        activation: Activation = "none",
        dilation: int = 1,
        *,
        padding: PaddingRule = None,
        norm: bool = True,
        shared: bool = False,
    ) -> Value:
        """Records one filter a channel, without bias; otherwise as `conv`."""
        extent, channels = dilation * (kernel - 1), x.channels
        if padding is None:  # nearly always
            before = after = extent // 2
        else:
            before, after = pads(padding, x.size, kernel, stride, dilation)
        size = (x.size + before + after - extent - 1) // stride + 1
        kind = _kind("depthwise", kernel, stride, dilation)
        learnt = Learnt(channels * kernel**2, 2 * channels * norm, size**2, 32, shared)
        return self._filter(kind, x, channels, size, (before, after), learnt, activation)

    def _filter(
        self,
        kind: str,
        x: Value,
        channels: int,
        size: int,
        padding: tuple[int, int],
        learnt: Learnt,
        activation: Activation,
    ) -> Value:
        """Adds a convolution and its activation."""
        out = self.value(channels, size)
        operator = Operator(kind, x.channels, x.size, channels, size)
        self.steps.append(Step(operator, (x.number,), out.number, padding, learnt=learnt))
        return out if activation == "none" else self._plain(activation, out)

    def activate(self, x: Value, activation: Activation) -> Value:
        """Records an activation; `none` records nothing."""
        return x if activation == "none" else self._plain(activation, x)

    def max_pool(
        self, x: Value, kernel: int, stride: int, size: int, padding: tuple[int, int]
    ) -> Value:
        """Max-pools to `size`; what is outside of the map never wins."""
        return self._step(f"max_pool k{kernel} s{stride}", [x], x.channels, size, padding)

    def average_pool(self, x: Value, stride: int) -> Value:
        """Average-pools, the window being the stride."""
        return self._step(f"average_pool k{stride} s{stride}", [x], x.channels, x.size // stride)

    def resize(self, x: Value, size: int) -> Value:
        """Records nearest neighbours; a map of that size stays itself."""
        return x if size == x.size else self._step("nearest", [x], x.channels, size)

    def mean(self, x: Value) -> Value:
        """Records the mean of each channel."""
        return self._step("mean", [x], x.channels, 1)

    def gate(self, x: Value, factors: Value) -> Value:
        """Multiplies each channel by a factor of its own."""
        return self._step("gate", [x, factors], x.channels, x.size)

    def weigh(self, x: Value) -> Value:
        """Multiplies a map by one learnt number."""
        return self._plain("weigh", x, Learnt(others=1))

    def normalize(self, x: Value) -> Value:
        """Takes the colours' means from the picture and divides by their deviations."""
        return self._plain("normalize", x)

    def unit_norm(self, x: Value) -> Value:
        """Records unit norm over channels, times a learnt factor each."""
        return self._plain("unit_norm", x, Learnt(others=x.channels))

    def add(self, values: Sequence[Value]) -> Value:
        """Records the sum of maps of one shape, one `add` for each but the first."""
        total = values[0]
        for value in values[1:]:
            total = self._step("add", [total, value], total.channels, total.size)
        return total

    def concat(self, values: Sequence[Value]) -> Value:
        """Records maps of one size beside each other; a single one stays itself."""
        if len(values) == 1:
            return values[0]
        channels = sum([value.channels for value in values])
        return self._step("concat", values, channels, values[0].size, channels_in=channels)

    def flatten(self, x: Value, ends: int) -> Value:
        """Records `(1, A · ends, S, S)` to `(1, S · S · A, ends)`; the operator keeps the first."""
        return self._step("flatten", [x], x.channels, x.size, ends=ends)

    def join(self, values: Sequence[Value]) -> Value:
        """Records all levels' flattened predictions in one row, whose length are its channels."""
        count = sum([value.channels * value.size**2 for value in values])
        return self._step("join", values, count, 1, channels_in=count, size_in=1)

    def operator(self, kind: str, x: Value, learnt: int = 0) -> Value:
        """Records any other operator that keeps a map's shape, such as another package's.

        Args:
            kind: its name, which a device's table has times for.
            x: what is read.
            learnt: parameters, stored in 32 bits.
        """
        return self._plain(kind, x, Learnt(others=learnt) if learnt else NOTHING)

    def _plain(self, kind: str, x: Value, learnt: Learnt = NOTHING) -> Value:
        """Adds an operator that keeps a map's shape."""
        number, channels, size = x
        out = self.value(channels, size)
        operator = Operator(kind, channels, size, channels, size)
        self.steps.append(Step(operator, (number,), out.number, learnt=learnt))
        return out

    def _step(
        self,
        kind: str,
        reads: Sequence[Value],
        channels: int,
        size: int,
        padding: tuple[int, int] = (0, 0),
        *,
        channels_in: int | None = None,
        size_in: int | None = None,
        ends: int = 0,
    ) -> Value:
        """Adds any other operator."""
        first = reads[0]
        before = first.channels if channels_in is None else channels_in
        side = first.size if size_in is None else size_in
        out = self.value(channels, size)
        operator = Operator(kind, before, side, channels, size)
        numbers = tuple([x.number for x in reads])
        self.steps.append(Step(operator, numbers, out.number, padding, ends))
        return out


@remembered
def _kind(what: str, kernel: int, stride: int, dilation: int) -> str:
    return f"{what} k{kernel} s{stride}" + (f" d{dilation}" if dilation > 1 else "")
