"""The second look: the best of each arm, scored again with fresh seeds."""

from __future__ import annotations

from collections.abc import Iterator

from nas.ledger import Ledger
from nas.study_settings import FinalistSettings
from nas.trial import Arm, Record, Status

ARMS: tuple[Arm, ...] = ("controller", "control")


def looks_due(ledger: Ledger, settings: FinalistSettings) -> Iterator[tuple[Record, int]]:
    """Yields the looks that no session has finished or queued yet.

    Each seed goes round all of the best, so that all have had as many looks when the time is up.

    Yields:
        A row of the search, and which repeat of it is due (1...).
    """
    known = {
        (record.key, record.repeat, record.length)
        for record in ledger.records.values()
        if record.phase == "finalist" and record.status is not Status.WITHDRAWN
    }
    chosen = [record for arm in ARMS for record in ledger.best(arm, settings.count)]
    for repeat in range(1, settings.repeats + 1):
        for best in chosen:
            look = (best.key, repeat, settings.length)
            if look not in known:
                known.add(look)
                yield best, repeat
