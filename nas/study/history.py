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
from nas.study.pareto import Spread
from nas.study.stopping import rank_among
from nas.study.store import Store
from nas.study.trial import Arm, Record, Status


class Ledger:
    """Rows by number, with the counts and indices that a study decides by.

    Attributes:
        records: every row.
        undelivered: numbers of the search whose result wasn't delivered, in order of proposal.
        charged: trials that cost budget, under way or finished, by arm.
        told: the delivered ones among them.
        finished: delivered trials that were run, whatever came of them; of these `failed` by
            kind, and `zeros` whose metric is exactly 0.
        barren: infeasible results in a row.
        stale: proposals since the last run that another row's result answered.
    """

    def __init__(
        self,
        store: Store,
        controller: Controller,
        objective: ObjectiveSettings,
        *,
        full_arms: bool,
        stops: bool,
    ) -> None:
        """Opens the rows of a store.

        Args:
            full_arms: whether nothing crosses over from the control arm.
            stops: whether trials are stopped early, so that the controller hears of curves.
        """
        self.records: dict[int, Record] = {}
        self.undelivered: dict[int, None] = {}
        self.charged: Counter[Arm] = Counter()
        self.failed: Counter[FailureKind] = Counter()
        self.told = self.zeros = self.finished = self.barren = self.stale = 0
        self._store, self._controller, self._full_arms = store, controller, full_arms
        self._objective, self._stops = objective, stops
        self._curves: list[tuple[float, ...]] = []
        self._spread = Spread(1 + len(objective.axes)) if objective.spread else None
        self._leaders: dict[str, int] = {}  # key to the row that holds its result
        self._followers: defaultdict[int, list[int]] = defaultdict(list)
        self._seen: defaultdict[str, set[str]] = defaultdict(set)
        self._worst = math.inf
        self._sequence = 0
        self._dirty: dict[int, Record] = {}
        self._is_held = False

    def seen(self, arm: Arm) -> set[str]:
        """Returns the keys that were proposed, in this arm alone if the arms are full ones."""
        return self._seen[arm if self._full_arms else ""]

    def leader(self, key: str) -> Record | None:
        """Returns the row that holds, or will hold, the result of a key."""
        number = self._leaders.get(key)
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

    def share(self, record: Record, leader: Record) -> None:
        """Gives a row the result of the row that holds it, or lets it wait for that."""
        record.cached_from, record.status = leader.number, leader.status
        record.curve = leader.curve
        record.costs, record.metrics, record.failure = leader.costs, leader.metrics, leader.failure
        record.reward, record.excess = leader.reward, leader.excess
        record.numerics, record.versions = leader.numerics, leader.versions
        self.touch(record)

    def settle(self, leader: Record) -> list[Record]:
        """Shares a finished row's result with the rows that wait for it, and returns them."""
        waiting = [self.records[number] for number in self._followers.pop(leader.number, [])]
        for record in waiting:
            record.clock = leader.clock
            self.share(record, leader)
        return waiting

    def deliver(self, record: Record) -> None:
        """Tells a finished row's result, once, and gives back its budget if it costs none."""
        record.tell_seq = self._next()
        if record.status in (Status.WITHDRAWN, Status.INFEASIBLE) and record.charged:
            record.charged = False
            self.charged[record.arm] -= 1
        if record.failure is not None:
            if RULES[record.failure.kind].told == "worst":
                record.reward = self._worst if math.isfinite(self._worst) else 0.0
        elif record.status is Status.DONE and self._spread is not None and self._is_heard(record):
            record.reward = self._spread.reward(self._objective.point(record))
        self.touch(record)
        self.absorb_tell(record)

    def touch(self, record: Record) -> None:
        """Marks a row as changed."""
        self._dirty[record.number] = record

    def flush(self) -> None:
        """Writes all changed rows in one transaction, so that the store holds whole events."""
        if self._dirty and not self._is_held:
            self._store.write(*self._dirty.values())
            for record in self._dirty.values():
                vars(record).pop("candidate", None)  # those of thousands would fill the memory
            self._dirty.clear()

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

    def absorb_ask(self, record: Record) -> None:
        """Absorbs that a row was taken up."""
        self.records[record.number] = record
        if record.phase == "finalist":
            return
        self.seen(record.arm).add(record.key)
        if record.cached_from is None:
            self._leaders[record.key] = record.number
        if record.phase == "earlier":
            return
        self.undelivered[record.number] = None
        self.charged[record.arm] += record.charged
        if record.cached_from is not None and record.status is Status.ASKED:
            self._followers[record.cached_from].append(record.number)
        if record.cached_from is not None:
            self.stale += 1
        elif record.status is not Status.INFEASIBLE or record.attempts:  # it was, or will be, run
            self.stale = 0
        if record.source == "controller":
            self._controller.asked(record.number, record.code)

    def absorb_tell(self, record: Record) -> None:
        """Absorbs that a row's result was delivered."""
        if record.phase == "finalist":
            return
        if record.phase == "search":
            self.undelivered.pop(record.number, None)
            self._count(record)
        if record.status is Status.WITHDRAWN and self._leaders.get(record.key) == record.number:
            del self._leaders[record.key]
            for keys in self._seen.values():
                keys.discard(record.key)
        if self._is_heard(record):
            self._tell(record)

    def replay(self, decode: Callable[[Any], Any]) -> list[Record]:
        """Absorbs the store's recorded events in their order; returns the rows."""
        rows = self._store.records(decode)
        events = [(row.ask_seq, self.absorb_ask, row) for row in rows]
        events += [(row.tell_seq, self.absorb_tell, row) for row in rows if row.tell_seq]
        for sequence, absorb, row in sorted(events, key=lambda event: event[0]):
            absorb(row)
            self._sequence = sequence
        return rows

    def _is_heard(self, record: Record) -> bool:
        """Whether the controller hears of a row: never of finalists, nor across full arms."""
        return record.phase != "finalist" and not (self._full_arms and record.arm == "control")

    def _tell(self, record: Record) -> None:
        is_own, number, code = record.source == "controller", record.number, record.code
        reward, excess = record.reward, record.excess
        if record.status is Status.DONE and reward is not None:
            self._worst = min(self._worst, reward)
            if self._spread is not None:
                self._spread.absorb(self._objective.point(record))
            if self._stops and record.curve:  # an earlier row may have none
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
        self.told += record.charged
        infeasible = record.status is Status.INFEASIBLE
        self.barren = self.barren + 1 if infeasible else 0
        cut = record.status is Status.WITHDRAWN and record.failure is None  # by the clock
        if record.cached_from is None and not infeasible and not cut:
            self.finished += 1
            if record.status is Status.DONE:
                self.zeros += self._objective.quality(record.metrics) == 0.0
            if record.failure is not None:
                self.failed[record.failure.kind] += 1

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence
