"""What a search computes of a candidate before any training: counts, and its time by a table."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nas.changes import differences, short
from nas.cost import LatencyTable, profile, read_table
from nas.errors import RunError
from nas.files import write_text
from nas.genome import Genome
from nas.runs.folder import Run
from nas.space import Space

DRAWS = 300
"""Networks drawn as the control arm draws them."""


@dataclass(frozen=True)
class GenomeCosts:
    """Costs of a genome as deployed; called with it, returns them by name.

    Attributes:
        classes: background counts.
        table: a device's times; None leaves latency_ms out.
    """

    classes: int
    table: LatencyTable | None = None

    def __call__(self, genome: Genome) -> Mapping[str, float]:
        """Returns a genome's costs by name."""
        return profile(genome, num_classes=self.classes, latency=self.table).costs()

    def check(self, space: Space, seed: int) -> None:
        """Refuses a table that lacks operators of a space, as far as draws can tell.

        Raises:
            ConfigError: names the first, and says how many.
        """
        if self.table is not None:
            rng = random.Random(seed)
            self.table.cover((space.sample(rng) for _ in range(DRAWS)), self.classes)

    def keep(self, run: Run) -> None:
        """Keeps the table beside the run's rows, whose times come from it.

        Raises:
            RunError: it says something else than when the run began; names the entry.
        """
        if self.table is None:
            return
        path = run.path / "latency_table.json"
        if path.is_file():
            change = _change(read_table(path), self.table)
            if change:
                field, then, now = change
                raise RunError(
                    f"{run.path}: {field} of the latency table was {short(then)} when this run "
                    f"began and is now {short(now)}; restore it, or start a new run"
                )
        write_text(path, self.table.model_dump_json(indent=1) + "\n")


def _change(before: LatencyTable, now: LatencyTable) -> tuple[str, Any, Any] | None:
    """Returns the first field of a run's table that changed: its conditions, then its times."""
    for field in ("device", "runtime", "threads", "precision"):
        was, is_now = getattr(before, field), getattr(now, field)
        if was != is_now:
            return field, was, is_now
    return next(differences(before.model_dump(), now.model_dump()), None)
