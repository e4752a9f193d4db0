"""Uniform draws at each decision: the baseline of every search."""

from __future__ import annotations

from nas.controllers.base import Controller, Stop
from nas.space import Code


class Random(Controller):
    """Proposes uniform draws and learns nothing."""

    def propose(self, number: int, draw: int = 0) -> Code:
        """Returns a uniform draw."""
        return self.space.sample_code(self.generator(number, draw))

    def tell(self, number: int, code: Code, reward: float | None, excess: float = 0.0) -> None:
        """A result changes nothing."""

    def stop(self, number: int | None, stop: Stop) -> None:
        """A stopped trial changes nothing."""

    def observe(self, code: Code, reward: float | None, excess: float = 0.0) -> None:
        """A result changes nothing."""
