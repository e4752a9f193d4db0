"""What the zoo says of one published detector."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nas.genome import Genome


@dataclass(frozen=True)
class Entry:
    """One zoo entry.

    Attributes:
        name: as `genome` takes it.
        make: makes the genome.
        published_params, published_macs: of the whole detector at 91 classes, in units, as
            rounded where they were published; None where they weren't. What the genome really
            comes to is `nas.profile(entry.make())`.
        source: where the published numbers stand.
        note: a mismatch, and what explains it.
    """

    name: str
    make: Callable[[], Genome]
    published_params: float | None
    published_macs: float | None
    source: str
    note: str = ""
