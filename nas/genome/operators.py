"""Operators: what a runtime carries out, as small as it can be timed, and their texts.

Equal operators take the same time wherever they stand, up to what a runtime makes of their
neighbours. An operator's text has its kind and its shapes as channels@side; tables of devices and
what their runners write keep these texts:

    conv k3 s2 16@160 > 32@80
"""

from __future__ import annotations

import re
from typing import NamedTuple, Self, get_args

from nas.genome.memo import remembered
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
        kind: what it computes, with what no formula scales: `conv k3 s2`, `hard_swish`.
        channels_in, size_in: of the map that it reads; of several, all channels for `concat`
            and `join`, those of one map else.
        channels, size: of the map that it gives.
    """

    kind: str
    channels_in: int
    size_in: int
    channels: int
    size: int

    @property
    def text(self) -> str:
        """Returns kind and shapes as a text, which `parse` reads."""
        return f"{self.kind} {self.channels_in}@{self.size_in} > {self.channels}@{self.size}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads a text.

        Raises:
            ValueError: where it is none.
        """
        match = _TEXT.fullmatch(text)
        if match is None:
            raise ValueError(f"{text[:80]!a} is no operator, such as 'conv k3 s2 16@160 > 32@80'")
        return cls(match[1], *(int(number) for number in match.groups()[1:]))

    @property
    def window(self) -> tuple[int, int]:
        """Returns kernel and stride of a convolution or a pooling; (1, 1) of any other."""
        return _window(self.kind)

    @property
    def macs(self) -> int:
        """Returns the multiply-adds of a convolution, 0 of any other."""
        kernel, _ = self.window
        places = kernel**2 * self.size**2 * self.channels
        if self.kind.startswith("depthwise"):
            return places
        return places * self.channels_in if self.kind.startswith("conv") else 0


@remembered
def _window(kind: str) -> tuple[int, int]:
    numbers = dict(re.findall(r" ([ks])(\d+)", kind))
    return int(numbers.get("k", 1)), int(numbers.get("s", 1))
