"""Operators: what a runtime carries out, as small as it can be timed, and how they are wired.

A unit of a plan becomes a few of them (`nas.cost.decompose`). Equal operators take the same time
wherever they stand, up to what a runtime makes of their neighbours. An operator's text has its kind
and its shapes as channels@side; tables of devices and what their runners write keep these texts:

    conv k3 s2 16@160 > 32@80
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, Self, get_args

from nas.genome.part import Activation

ACTIVATIONS = get_args(Activation)[1:]  # but for "none"
PLAIN = (
    *("add", "concat", "flatten", "gate", "input", "join", "mean", "nearest", "normalize"),
    *("output", "unit_norm", "weigh", *ACTIVATIONS),
)
"""Kinds without a window."""
_WINDOWED = r"(?:conv|depthwise|max_pool|average_pool) k[1-9]\d? s[1-9]\d?(?: d[1-9]\d?)?"
_MAP = r"([1-9]\d{0,7})@([1-9]\d{0,4})"
_TEXT = re.compile(rf"({_WINDOWED}|{'|'.join(PLAIN)}) {_MAP} > {_MAP}", re.ASCII)


class Operator(NamedTuple):
    """One of a runtime's operators.

    Attributes:
        kind: what it computes, with what no formula scales: ``conv k3 s2``, ``hard_swish``.
        channels_in, size_in: of the map that it reads; of several, all channels for ``concat``
            and ``join``, those of one map else.
        channels, size: of the map that it gives.
    """

    kind: str
    channels_in: int
    size_in: int
    channels: int
    size: int

    @property
    def text(self) -> str:
        """Kind and shapes; `parse` reads it."""
        return f"{self.kind} {self.channels_in}@{self.size_in} > {self.channels}@{self.size}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads a text.  Raises ValueError where it is none."""
        match = _TEXT.fullmatch(text)
        if match is None:
            raise ValueError(f"{text[:80]!a} is no operator, such as 'conv k3 s2 16@160 > 32@80'")
        return cls(match[1], *(int(number) for number in match.groups()[1:]))

    @property
    def window(self) -> tuple[int, int]:
        """Kernel and stride of a convolution or a pooling; (1, 1) of any other."""
        return _window(self.kind)

    @property
    def macs(self) -> int:
        """Multiply-adds of a convolution, 0 of any other."""
        kernel, _ = self.window
        places = kernel**2 * self.size**2 * self.channels
        if self.kind.startswith("depthwise"):
            return places
        return places * self.channels_in if self.kind.startswith("conv") else 0


@lru_cache(maxsize=1024)
def _window(kind: str) -> tuple[int, int]:
    found = dict(re.findall(r" ([ks])(\d+)", kind))
    return int(found.get("k", 1)), int(found.get("s", 1))


class Value(NamedTuple):
    """A map on its way between operators: its number, channels and side in pixels."""

    number: int
    channels: int
    size: int


class Step(NamedTuple):
    """An operator at work: the numbers of the values that it reads and of the one that it gives.

    Attributes:
        padding: pixels before and behind of a convolution or pooling.
        ends: whether a ``flatten`` gives this many values a box; 0 of any other.
    """

    operator: Operator
    reads: tuple[int, ...]
    gives: int
    padding: tuple[int, int] = (0, 0)
    ends: int = 0


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
        self._count = 0

    @property
    def operators(self) -> tuple[Operator, ...]:
        """What was recorded, without the wiring."""
        return tuple(step.operator for step in self.steps)

    def value(self, channels: int, size: int) -> Value:
        """A map that nothing recorded has made."""
        self._count += 1
        return Value(self._count - 1, channels, size)

    def input(self, channels: int, size: int) -> Value:
        """A map that is handed to the runtime."""
        value = self.value(channels, size)
        operator = Operator("input", channels, size, channels, size)
        self.steps.append(Step(operator, (), value.number))
        return value

    def output(self, value: Value) -> None:
        """A map that the runtime hands back."""
        self._one("output", value)

    def conv(
        self,
        x: Value,
        channels: int,
        kernel: int = 1,
        stride: int = 1,
        activation: Activation = "none",
        *,
        padding: int | None = None,
        dilation: int = 1,
    ) -> Value:
        """A full convolution with bias, its batch norm folded into it, and its activation."""
        kind = f"conv k{kernel} s{stride}"
        return self._windowed(kind, x, channels, kernel, stride, activation, padding, dilation)

    def depthwise(
        self, x: Value, kernel: int, stride: int, activation: Activation, dilation: int = 1
    ) -> Value:
        """One filter a channel, otherwise as `conv`."""
        kind = f"depthwise k{kernel} s{stride}"
        return self._windowed(kind, x, x.channels, kernel, stride, activation, None, dilation)

    def _windowed(
        self,
        kind: str,
        x: Value,
        channels: int,
        kernel: int,
        stride: int,
        activation: Activation,
        padding: int | None,
        dilation: int,
    ) -> Value:
        extent = dilation * (kernel - 1)
        padding = extent // 2 if padding is None else padding
        size = (x.size + 2 * padding - extent - 1) // stride + 1
        kind += f" d{dilation}" if dilation > 1 else ""
        out = self._step(kind, [x], channels, size, (padding, padding))
        return self.activate(out, activation)

    def activate(self, x: Value, activation: Activation) -> Value:
        """An activation; ``none`` records nothing."""
        return x if activation == "none" else self._one(activation, x)

    def max_pool(
        self, x: Value, kernel: int, stride: int, size: int, padding: tuple[int, int]
    ) -> Value:
        """Max-pools to ``size``; what is outside of the map never wins."""
        return self._step(f"max_pool k{kernel} s{stride}", [x], x.channels, size, padding)

    def average_pool(self, x: Value, stride: int) -> Value:
        """Average-pools, the window being the stride."""
        return self._step(f"average_pool k{stride} s{stride}", [x], x.channels, x.size // stride)

    def resize(self, x: Value, size: int) -> Value:
        """Nearest neighbours."""
        return x if size == x.size else self._step("nearest", [x], x.channels, size)

    def mean(self, x: Value) -> Value:
        """The mean of each channel."""
        return self._step("mean", [x], x.channels, 1)

    def gate(self, x: Value, factors: Value) -> Value:
        """Multiplies each channel by a factor of its own."""
        return self._step("gate", [x, factors], x.channels, x.size)

    def weigh(self, x: Value) -> Value:
        """Multiplies a map by one learnt number."""
        return self._one("weigh", x)

    def normalize(self, x: Value) -> Value:
        """Takes the colours' means from the picture and divides by their deviations."""
        return self._one("normalize", x)

    def unit_norm(self, x: Value) -> Value:
        """Unit norm over channels, times a factor each."""
        return self._one("unit_norm", x)

    def add(self, values: Sequence[Value]) -> Value:
        """The sum of maps of one shape, one ``add`` for each but the first."""
        total = values[0]
        for value in values[1:]:
            total = self._step("add", [total, value], total.channels, total.size)
        return total

    def concat(self, values: Sequence[Value]) -> Value:
        """Maps of one size beside each other; of a single one, itself."""
        channels = sum(value.channels for value in values)
        if len(values) == 1:
            return values[0]
        return self._step("concat", values, channels, values[0].size)

    def flatten(self, x: Value, ends: int) -> Value:
        """``(1, A · ends, S, S)`` to ``(1, S · S · A, ends)``, here ``A · ends`` channels at S."""
        out = self._step("flatten", [x], x.channels, x.size)
        self.steps[-1] = self.steps[-1]._replace(ends=ends)
        return out

    def join(self, values: Sequence[Value]) -> Value:
        """All levels' flattened predictions in one row; its channels are their numbers' count."""
        count = sum(value.channels * value.size**2 for value in values)
        out = self.value(count, 1)
        operator = Operator("join", count, 1, count, 1)
        self.steps.append(Step(operator, tuple(value.number for value in values), out.number))
        return out

    def _one(self, kind: str, x: Value) -> Value:
        return self._step(kind, [x], x.channels, x.size)

    def _step(
        self,
        kind: str,
        reads: Sequence[Value],
        channels: int,
        size: int,
        padding: tuple[int, int] = (0, 0),
    ) -> Value:
        first = reads[0]
        before = channels if kind == "concat" else first.channels
        out = self.value(channels, size)
        operator = Operator(kind, before, first.size, out.channels, out.size)
        self.steps.append(Step(operator, tuple(x.number for x in reads), out.number, padding))
        return out
