"""SSD's normalisation of its finest map."""

from __future__ import annotations

from typing import Literal

from nas.errors import GenomeError
from nas.genome.part import Positive
from nas.genome.parts.transform import Transform
from nas.genome.tape import Tape, Value


class L2Norm(Transform):
    """Unit norm over channels times one learnt factor per channel (SSD's conv4_3)."""

    type: Literal["l2_norm"] = "l2_norm"
    scale: Positive = 20.0

    def check_buildable(self, name: str) -> None:
        """Refuses it."""
        raise GenomeError(
            f"{name}: no model yet for transform l2_norm; legal to build: pool, or none"
        )

    def record(self, tape: Tape, x: Value) -> Value:
        """Records one operator."""
        return tape.unit_norm(x)
