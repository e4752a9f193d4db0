"""The tally: a fold over operators that is made while they are recorded."""

from __future__ import annotations

from collections.abc import Sequence

from nas.genome.part import Activation
from nas.genome.tape import NOTHING, Learnt, Tape, Value


class Tally(Tape):
    """A tape that adds up what is learnt instead of keeping operators, in a third of the time.

    Attributes:
        params: Trainable parameters.
        bits: Bits that they are stored in.
        weights: Those of them that are a convolution's.
        macs: Multiply-adds of convolutions, as published tables count them.

    Example:
        >>> tally = Tally()
        >>> wide = tally.conv(tally.value(16, 160), 32, kernel=3, stride=2)
        >>> tally.weights, tally.params, tally.macs == 4608 * 80**2
        (4608, 4672, True)
    """

    def __init__(self) -> None:
        super().__init__()
        self.params = self.bits = self.weights = self.macs = 0

    def value(self, channels: int, size: int) -> Value:
        """Returns a map that nothing recorded has made; here none has a number."""
        return Value(0, channels, size)

    def _count(self, learnt: Learnt) -> None:
        weights, others, places, bits, shared = learnt
        self.macs += weights * places
        if not shared:
            self.weights += weights
            self.params += weights
            self.bits += weights * bits
        self.params += others
        self.bits += 32 * others

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
        self._count(learnt)
        return Value(0, channels, size)

    def _plain(self, kind: str, x: Value, learnt: Learnt = NOTHING) -> Value:
        if learnt is not NOTHING:
            self._count(learnt)
        return x

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
        return Value(0, channels, size)
