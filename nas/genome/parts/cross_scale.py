"""What SpineNet's resamplings share: they connect levels up to 7, so the picture can't be small."""

from __future__ import annotations

from nas.errors import GenomeError
from nas.genome.parts.resample import Resample

LEAST_SIZE = 128
"""Below 128 px level 7 would be smaller than one pixel, so scales can't be told apart."""


class CrossScaleResample(Resample):
    """A resampling between any two levels of a scale-permuted network."""

    def check_picture(self, side: int) -> None:
        """Refuses a picture in which level 7 has no pixel."""
        if side < LEAST_SIZE:
            raise GenomeError(
                f"input size {side}: a scale-permuted network needs at least {LEAST_SIZE} px, so "
                "that level 7 keeps one pixel"
            )
