"""The rows of a run and all that follows from them: what a live run and a replay share.

Two kinds of event, in one order, make a run: a proposal was taken up (`absorb_ask`) and its
result was delivered (`absorb_tell`). Everything here, and the whole state of the controller, is
a function of those events.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from nas.controllers.base import Controller, Stop
from nas.study.failures import RULES, FailureKind
from nas.study.objective import ObjectiveSettings
from nas.study.pareto import FrontReward
from nas.study.settings import StudySettings
from nas.study.stopping import rank_among
from nas.study.store import Store
from nas.study.trial import Arm, Record, Status


class History:
    """Rows by number, with the counts and indices that a study decides by.

    Of several proposals of one candidate the first is the original, which holds the result; the
    later ones are its duplicates, which share it.

    Attributes:
        records: every row.
        undelivered: numbers of the search whose result wasn't delivered, in order of proposal.
        charged: trials that cost budget, under way or finished, by arm.
        completed: the delivered ones among them.
        finished: delivered trials that were run, whatever came of them; of these `failed` by
            kind, and `zeros` whose metric is exactly 0.
        infeasible_streak: infeasible results in a row.
        cached_streak: duplicates proposed since the last proposal that has to be run.
    """

    def __init__(
        self,
        store: Store,
        controller: Controller,
        objective: ObjectiveSettings,
        settings: StudySettings,
    ) -> None:
        """Opens the rows of a store.

        Args:
            store: keeps the rows.
            controller: is told the results.
            objective: makes rewards of them.
            settings: say whether nothing crosses over from the control arm, and whether trials are
                stopped early, so that the controller is told curves.
        """
        self.records: dict[int, Record] = {}
        self.undelivered: dict[int, None] = {}
        self.charged: Counter[Arm] = Counter()
        self.failed: Counter[FailureKind] = Counter()
        self.completed = self.zeros = self.finished = 0
        self.infeasible_streak = self.cached_streak = 0
        self._store, self._controller, self._objective = store, controller, objective
        self._full_arms = settings.control.is_full_arm
        self._stops = settings.stopping is not None
        self._curves: list[tuple[float, ...]] = []
        self._front = FrontReward(1 + len(objective.axes)) if objective.spread else None
        self._originals: dict[str, int] = {}  # key to the row that holds its result
        self._duplicates: defaultdict[int, list[int]] = defaultdict(list)  # those that wait
        self._proposed: defaultdict[str, set[str]] = defaultdict(set)
        self._worst = math.inf
        self._sequence = 0
        self._changed: dict[int, Record] = {}
        self._is_held = False

    def proposed(self, arm: Arm) -> set[str]:
        """Returns the keys that were proposed, in this arm alone if the arms are full ones."""
        return self._proposed[arm if self._full_arms else ""]

    def original(self, key: str) -> Record | None:
        """Returns the row that holds, or will hold, the result of a key."""
        number = self._originals.get(key)
        return None if number is None else self.records[number]

    def best(self, arm: Arm, count: int) -> list[Record]:
        """Returns the distinct candidates of an arm with the highest observed scores."""
        scored = [
            record
            for record in self.records.values()
            if record.phase != "finalist" and record.arm == arm and record.status is Status.DONE
        ]
        distinct: dict[str, Record] = {}
        for record in sorted(scored, key=lambda r: (-self._objective.score(r), r.number)):
            distinct.setdefault(record.key, record)
        return list(distinct.values())[:count]

    # Changes of a live run

    def add(self, record: Record) -> None:
        """Takes up a new row."""
        record.ask_seq = self._next()
        self.absorb_ask(record)
        self.touch(record)

    def share(self, original: Record) -> list[Record]:
        """Shares a finished row's result with the duplicates that wait for it; returns these."""
        waiting = [self.records[number] for number in self._duplicates.pop(original.number, [])]
        for record in waiting:
            record.clock = original.clock
            record.share(original)
            self.touch(record)
        return waiting

    def deliver(self, record: Record) -> None:
        """Tells the controller a finished row's result, once."""
        record.tell_seq = self._next()
        # What was withdrawn or infeasible gives back its budget.
        if record.status in (Status.WITHDRAWN, Status.INFEASIBLE) and record.charged:
            record.charged = False
            self.charged[record.arm] -= 1
        # Two rewards depend on what was delivered before, so they are made here, and recorded for
        # the replay: that of a failure reported as the worst, and that of an addition to the front.
        if record.failure is not None:
            if RULES[record.failure.kind].reported_as == "worst":
                record.reward = self._worst if math.isfinite(self._worst) else 0.0
        elif self._front is not None and record.status is Status.DONE and self._informs(record):
            record.reward = self._front.reward(self._objective.point(record))
        self.touch(record)
        self.absorb_tell(record)

    def touch(self, record: Record) -> None:
        """Marks a row as changed."""
        self._changed[record.number] = record

    def flush(self) -> None:
        """Writes all changed rows in one transaction, so that the store holds whole events."""
        if self._changed and not self._is_held:
            self._store.write(*self._changed.values())
            for record in self._changed.values():
                vars(record).pop("candidate", None)  # those of thousands would fill the memory
            self._changed.clear()

    @contextmanager
    def one_commit(self) -> Iterator[None]:
        """Writes what changes inside in one transaction at the end, whatever ends it."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False
            self.flush()

    # Events

    def replay(self, decode: Callable[[Any], Any]) -> list[Record]:
        """Absorbs the store's recorded events in their order; returns the rows."""
        rows = self._store.records(decode)
        events = [(row.ask_seq, self.absorb_ask, row) for row in rows]
        events += [(row.tell_seq, self.absorb_tell, row) for row in rows if row.tell_seq]
        for sequence, absorb, row in sorted(events, key=lambda event: event[0]):
            absorb(row)
            self._sequence = sequence
        return rows

    def absorb_ask(self, record: Record) -> None:
        """Absorbs that a row was taken up."""
        self.records[record.number] = record
        if record.phase == "finalist":
            return
        # A later proposal of the same key finds the row that holds its result.
        self.proposed(record.arm).add(record.key)
        if record.cached_from is None:
            self._originals[record.key] = record.number
        if record.phase == "earlier":
            return
        # A proposal of this search costs budget, and its result is to be delivered.
        self.undelivered[record.number] = None
        self.charged[record.arm] += record.charged
        if record.cached_from is not None:
            self.cached_streak += 1
            if record.status is Status.ASKED:
                self._duplicates[record.cached_from].append(record.number)
        elif record.status is not Status.INFEASIBLE or record.attempts:  # it was, or will be, run
            self.cached_streak = 0
        if record.source == "controller":
            self._controller.asked(record.number, record.code)

    def absorb_tell(self, record: Record) -> None:
        """Absorbs that a row's result was delivered."""
        if record.phase == "finalist":
            return
        if record.phase == "search":
            self.undelivered.pop(record.number, None)
            self._count(record)
        # Nothing was learnt of a withdrawn candidate: it may be proposed again, as a new one.
        if record.status is Status.WITHDRAWN and self._originals.get(record.key) == record.number:
            del self._originals[record.key]
            for keys in self._proposed.values():
                keys.discard(record.key)
        if self._informs(record):
            self._inform_controller(record)

    def _informs(self, record: Record) -> bool:
        """Whether the controller is told a result: no finalist's, nor one across full arms."""
        return record.phase != "finalist" and not (self._full_arms and record.arm == "control")

    def _inform_controller(self, record: Record) -> None:
        """Tells the controller a result, by the one of its methods that fits."""
        is_own, number, code = record.source == "controller", record.number, record.code
        reward, excess = record.reward, record.excess
        if record.status is Status.DONE and reward is not None:
            self._worst = min(self._worst, reward)
            if self._front is not None:
                self._front.absorb(self._objective.point(record))
            if self._stops and record.curve:  # a warm start's row may have none
                self._controller.reports(code, self._take_curve(record)[0])
        if record.status is Status.STOPPED:
            self._controller.stop(number if is_own else None, Stop(code, *self._take_curve(record)))
        elif record.status is Status.WITHDRAWN:
            if is_own:
                self._controller.withdraw(number, code)
        elif is_own:
            self._controller.tell(number, code, reward, excess)
        else:
            self._controller.observe(code, reward, excess)

    def _take_curve(self, record: Record) -> tuple[tuple[float, ...], float]:
        """Returns a delivered row's curve, and its last rank among those delivered before."""
        curve = self._objective.curve(record)
        last = len(curve)
        others = [other[last - 1] for other in self._curves if len(other) >= last]
        if record.cached_from is None:
            self._curves.append(curve)
        return curve, rank_among(curve[-1], others)

    def _count(self, record: Record) -> None:
        """Counts a delivered row of the search, for budget and for giving up."""
        self.completed += record.charged
        is_infeasible = record.status is Status.INFEASIBLE
        self.infeasible_streak = self.infeasible_streak + 1 if is_infeasible else 0
        is_cut = record.status is Status.WITHDRAWN and record.failure is None  # by the clock
        if record.cached_from is None and not is_infeasible and not is_cut:
            self.finished += 1
            if record.status is Status.DONE:
                self.zeros += self._objective.quality(record.metrics) == 0.0
            if record.failure is not None:
                self.failed[record.failure.kind] += 1

    def _next(self) -> int:
        """Returns the next place in the order of events."""
        self._sequence += 1
        return self._sequence
