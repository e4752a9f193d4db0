"""The next proposal of a study: who draws it, and whether it has to be run."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from nas.controllers.base import Controller
from nas.errors import GenomeError
from nas.space import Code, Space
from nas.study.failures import Failure, FailureKind
from nas.study.history import History
from nas.study.objective import ObjectiveSettings
from nas.study.settings import StudySettings
from nas.study.trial import Arm, Record, Status, trial_seed

Source = Literal["controller", "uniform"]
Costs = Callable[[Any], Mapping[str, float]]

DRAWS = 200
"""Draws in search of a candidate that wasn't proposed, before a space counts as exhausted."""
REPEATS = 3
"""Duplicates in a row, before a controller that may repeat itself must propose something new."""
ENUMERABLE = 4096
"""Spaces of at most so many codes are then walked as a whole."""


class Draft(NamedTuple):
    """A code that may become a proposal.

    Attributes:
        key: of its candidate; made of the code itself where that has none.
        problem: why the code has no candidate; None if it has one.
        source: who drew it.
    """

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
        settings: StudySettings,
        history: History,
        seed: int,
        costs: Costs,
    ) -> None:
        """Begins with the rows of a history.

        Args:
            space: what is searched.
            controller: proposes.
            objective: has the limits.
            settings: say whether each arm pays for its own trials.
            history: what was proposed so far.
            seed: the run's.
            costs: computes params, MACs, ... of a candidate as deployed.
        """
        self._space, self._controller, self._objective = space, controller, objective
        self._history, self._seed, self._costs = history, seed, costs
        self._full_arms = settings.control.is_full_arm

    def draft(self, arm: Arm, number: int) -> Draft | None:
        """Returns the arm's next code: a new one, unless its controller learns from repeats.

        Returns:
            None if nothing is found that the arm hasn't proposed.
        """
        proposed = self._history.proposed(arm)
        # 1. What the controller proposes, drawn again while it proposes what it has already.
        if arm == "controller":
            may_repeat = self._controller.repeats and self._history.cached_streak < REPEATS
            for draw in range(DRAWS):
                draft = self._decoded(self._controller.propose(number, draw))
                if may_repeat or draft.key not in proposed:
                    return draft
        # 2. Uniform draws: the control arm's own way, and a controller's that has nothing new.
        for draw in range(DRAWS):
            rng = random.Random(f"{self._seed}/uniform/{number}/{draw}")
            draft = self._decoded(self._space.sample_code(rng), "uniform")
            if draft.key not in proposed:
                return draft
        # 3. A small space is walked: draws may miss the last of its codes.
        small = self._space.size() <= ENUMERABLE
        drafts = (self._decoded(code, "uniform") for code in (self._space.codes() if small else ()))
        return next((draft for draft in drafts if draft.key not in proposed), None)

    def _decoded(self, code: Code, source: Source = "controller") -> Draft:
        """Decodes a code, which needn't have a candidate."""
        try:
            candidate = self._space.decode(code)
            return Draft(code, self._space.key(candidate), candidate, None, source)
        except GenomeError as error:
            return Draft(code, f"invalid:{list(code)}", None, str(error), source)

    def row(self, draft: Draft, arm: Arm, number: int) -> Record:
        """Makes a draft's row: a duplicate, infeasible, or one that has to be run."""
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
        if original := self._history.original(draft.key):
            record.share(original)
            # In full arms each arm pays for what it would have had to train alone.
            is_new = self._full_arms and draft.key not in self._history.proposed(arm)
            record.charged = is_new and record.status is not Status.INFEASIBLE
            return record
        if draft.problem is not None:
            record.failure, record.excess = Failure(FailureKind.INVALID, draft.problem), 1.0
        else:
            record.costs = dict(self._costs(draft.candidate))
            over = self._objective.violations(record.costs)
            if over:
                message = ", ".join(_over_text(name, part) for name, part in over.items())
                record.failure = Failure(FailureKind.OVER_LIMIT, message)
                record.excess = sum(over.values())
        if record.failure is not None:
            record.status, record.charged = Status.INFEASIBLE, False
        return record

    def reevaluation(self, best: Record, number: int, repeat: int, length: int) -> Record:
        """Makes the row of a finalist's re-evaluation, with a fresh seed."""
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
    """Returns by how much a cost is over its limit, `part` being its share of it."""
    over = f"{100 * part:.1f} % over" if part < 10.0 else f"{1.0 + part:.3g} times the limit"
    return f"{name} {over}"
