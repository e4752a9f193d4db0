"""The next proposal of a study: who draws it, and whether it has to be run."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from nas.controllers.base import Controller
from nas.errors import GenomeError
from nas.space import Code, Space
from nas.study.failures import Failure, FailureKind
from nas.study.history import Ledger
from nas.study.objective import ObjectiveSettings
from nas.study.trial import Arm, Record, Status, trial_seed

Source = Literal["controller", "uniform"]
Costs = Callable[[Any], Mapping[str, float]]

DRAWS = 200
"""Tries to find a candidate that wasn't seen, before a space counts as exhausted."""
REPEATS = 3
"""Repeats answered from the cache, before a controller that may repeat must draw unseen ones."""
ENUMERABLE = 4096
"""Spaces up to this size are walked through after that."""


class Draft(NamedTuple):
    """A code that may become a proposal."""

    code: Code
    key: str
    candidate: Any
    problem: str | None
    source: Source = "controller"


class Proposer:
    """Draws codes for both arms, and makes rows of them."""

    def __init__(
        self,
        space: Space,
        controller: Controller,
        objective: ObjectiveSettings,
        ledger: Ledger,
        *,
        seed: int,
        costs: Costs,
        full_arms: bool,
    ) -> None:
        self._space, self._controller, self._objective = space, controller, objective
        self._ledger, self._seed, self._costs, self._full_arms = ledger, seed, costs, full_arms

    def draft(self, arm: Arm, number: int) -> Draft | None:
        """Returns the arm's next code: unseen, unless its controller learns from repeats."""
        seen = self._ledger.seen(arm)
        if arm == "controller":
            may_repeat = self._controller.repeats and self._ledger.stale < REPEATS
            for draw in range(DRAWS):
                draft = self._look(self._controller.propose(number, draw))
                if may_repeat or draft.key not in seen:
                    return draft
        for draw in range(DRAWS):
            rng = random.Random(f"{self._seed}/uniform/{number}/{draw}")
            draft = self._look(self._space.sample_code(rng), "uniform")
            if draft.key not in seen:
                return draft
        small = self._space.size() <= ENUMERABLE
        drafts = (self._look(code, "uniform") for code in (self._space.codes() if small else ()))
        return next((draft for draft in drafts if draft.key not in seen), None)

    def _look(self, code: Code, source: Source = "controller") -> Draft:
        try:
            candidate = self._space.decode(code)
            return Draft(code, self._space.key(candidate), candidate, None, source)
        except GenomeError as error:
            return Draft(code, f"invalid:{list(code)}", None, str(error), source)

    def row(self, draft: Draft, arm: Arm, number: int) -> Record:
        """Decides what a proposal is: infeasible, known, or to be tried."""
        record = Record(
            number=number,
            arm=arm,
            source=draft.source,
            phase="search",
            code=draft.code,
            key=draft.key,
            seed=trial_seed(self._seed, draft.key, 0),
            decode=self._space.decode,
        )
        record.candidate = draft.candidate
        if leader := self._ledger.leader(draft.key):
            self._ledger.share(record, leader)
            # In full arms each arm pays for what it would have had to train alone.
            is_new = self._full_arms and draft.key not in self._ledger.seen(arm)
            record.charged = is_new and record.status is not Status.INFEASIBLE
            return record
        if draft.problem is not None:
            record.failure, record.excess = Failure(FailureKind.INVALID, draft.problem), 1.0
        else:
            record.costs = dict(self._costs(draft.candidate))
            over = self._objective.violations(record.costs)
            if over:
                said = ", ".join(_over_text(name, part) for name, part in over.items())
                record.failure = Failure(FailureKind.OVER_LIMIT, said)
                record.excess = sum(over.values())
        if record.failure is not None:
            record.status, record.charged = Status.INFEASIBLE, False
        return record

    def again(self, best: Record, number: int, repeat: int, length: int) -> Record:
        """Makes the row of a second look at a candidate, with a fresh seed."""
        return Record(
            number=number,
            arm=best.arm,
            source=best.source,
            phase="finalist",
            code=best.code,
            key=best.key,
            seed=trial_seed(self._seed, best.key, repeat),
            repeat=repeat,
            length=length,
            charged=False,
            costs=best.costs,
            decode=self._space.decode,
        )


def _over_text(name: str, part: float) -> str:
    over = f"{100 * part:.1f} % over" if part < 10.0 else f"{1.0 + part:.3g} times the limit"
    return f"{name} {over}"
