"""When a search gives up, and what it warns of."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping

from nas.errors import RunError
from nas.ledger import Ledger
from nas.trial import RULES, Outcome

log = logging.getLogger(__name__)

BARREN = 1000
"""Infeasible proposals in a row that end a run."""


def check_failures(ledger: Ledger, most: float) -> None:
    """Raises a RunError if more than this share of the trials failed, naming what to change."""
    failed, finished = ledger.failed, ledger.finished
    enough = finished >= 10 or (finished >= 5 and failed.total() == finished)
    if not enough or failed.total() / finished <= most:
        return
    kind, count = failed.most_common(1)[0]
    trials: dict[str, list[int]] = {}
    for record in ledger.records.values():
        if record.failure is not None and record.failure.kind is kind:
            trials.setdefault(record.failure.message, []).append(record.number)
    reason, numbers = max(trials.items(), key=lambda item: len(item[1]))
    raise RunError(
        f"{failed.total()} of {finished} trials failed, {count} of them by {kind} "
        f"(the commonest: {reason}, as in trial {numbers[-1]}); change {RULES[kind].setting}, or "
        f"raise compute.max_failures from {most}"
    )


def check_zeros(ledger: Ledger, most: float, metric: str) -> None:
    """Raises a RunError if more than this share of the trials has a metric of exactly 0."""
    if ledger.finished >= 20 and ledger.zeros / ledger.finished > most:
        raise RunError(
            f"{ledger.zeros} of {ledger.finished} trials have {metric} = 0; lengthen the proxy "
            f"(the recipe's epochs), or raise study.max_zeros from {most}"
        )


def check_barren(ledger: Ledger, last: str) -> None:
    """Raises a RunError if nothing feasible was proposed for long.

    Args:
        last: why the last proposal was none.
    """
    if ledger.barren >= BARREN:
        raise RunError(
            f"{BARREN} proposals in a row were infeasible (the last: {last}); "
            "raise objective.limits, or change the space; nas search --dry-run shows what a limit "
            "leaves"
        )


class Provenance:
    """Warns when results come from other libraries or numerics than those before them."""

    def __init__(self, versions: Mapping[str, str], earlier: Collection[str]) -> None:
        """Begins with what is recorded.

        Args:
            versions: of the last trial's libraries.
            earlier: classes of numerics of the rows of a warm start.
        """
        self._versions = versions
        self._earlier = set(earlier) - {""}

    def note(self, outcome: Outcome) -> None:
        """Compares a result with those before it."""
        for name in outcome.versions.keys() & self._versions.keys():
            was, now = self._versions[name], outcome.versions[name]
            if now != was:
                log.warning("%s was %s earlier in this run, and is now %s", name, was, now)
        self._versions = outcome.versions or self._versions
        if outcome.numerics and self._earlier and outcome.numerics not in self._earlier:
            log.warning(
                "trials run as %s and earlier ones as %s: the last digits may differ",
                outcome.numerics,
                ", ".join(sorted(self._earlier)),
            )
            self._earlier.clear()
