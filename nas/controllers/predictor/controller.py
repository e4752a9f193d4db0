"""A model of rewards proposes what may be best: a Gaussian process, with upper confidence bounds.

After a balanced initial design, a proposal is the candidate of a pool with the highest upper
confidence bound, times the chance that it can be had. What is under way counts as known, so that
candidates proposed together differ (GP-BUCB, Desautels et al., arXiv 1206.6402). The model sees a
code's decisions, and the space's features of its candidate.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import numpy as np
from pydantic import NonNegativeFloat, PositiveInt

from nas.controllers.base import Controller, Stop
from nas.controllers.evolution import mutated
from nas.controllers.predictor.features import Encoding, Scaling
from nas.controllers.predictor.gaussian_process import Distances, Outlook, Points, Process, fit
from nas.controllers.predictor.observations import Levels, Row, Told, in_full, kept, margins
from nas.settings import Settings
from nas.space import Code, Space

ROUNDS = 2
"""Times that the pool is widened by mutants of what looks best."""
LOSSES = 2
"""Times that a candidate may be withdrawn before it is left out: it may be what kills workers."""
LATER = 64
"""Results at most by which a model is behind; it takes up the newest ones without a new fit."""
KEPT = 8
"""Fits that look at the same uniform draws, whose features are what takes the time."""
LOW = -3.0
"""A score is a bound above the worst value, or above this one."""


class PredictorSettings(Settings):
    """Hyper-parameters.

    Attributes:
        initial: proposals before the model is asked.
        pool: candidates that a proposal is chosen from, half of them uniform draws.
        beta: β, how many standard deviations a bound lies above the mean.
        memory: results that the model knows at most, half of them the best ones. Its kernel is
            fitted to a quarter as many.
    """

    initial: PositiveInt = 10
    pool: PositiveInt = 300
    beta: NonNegativeFloat = 1.0
    memory: PositiveInt = 1000


class Predictor(Controller):
    """Learns from every result, its own and others', infeasible ones too.

    The model is a function of the results told so far: fitted to all of them up to 64, and to all
    but the last few per cent where there are more, which it is then conditioned on. It is made
    when a proposal needs it, so that absorbing a recorded run costs nothing.
    """

    settings_type: ClassVar[type[Settings]] = PredictorSettings
    settings: PredictorSettings

    def __init__(self, space: Space, seed: int, settings: PredictorSettings | None = None) -> None:
        super().__init__(space, seed, settings)
        self._told: list[Told] = []
        self._open: dict[int, Code] = {}
        self._withdrawn: Counter[Code] = Counter()
        self._curve: tuple[float, ...] = ()  # of the result that is told next
        self._encoding = Encoding(space)
        self._draws = lru_cache(maxsize=1)(self._uniform_draws)
        self._view: View | None = None
        self._ranked: list[Code] | None = None  # by the newest events

    def propose(self, number: int, draw: int = 0) -> Code:
        rng = self.generator(number, draw)
        known = len(self._told) + len(self._open)
        view = self._current_view() if known >= self.settings.initial else None
        if view is None:
            return self._balanced(rng)
        if self._ranked is None:
            lost = [code for code, times in self._withdrawn.items() if times >= LOSSES]
            self._ranked = view.ranking(self._told[view.count :], [*self._open.values()], lost)
        ranked = self._ranked
        return ranked[draw] if draw < len(ranked) else self.space.sample_code(rng)

    def asked(self, number: int, code: Code) -> None:
        self._open[number] = code
        self._ranked = None

    def tell(self, number: int, code: Code, reward: float | None, excess: float = 0.0) -> None:
        del self._open[number]
        self.observe(code, reward, excess)

    def observe(self, code: Code, reward: float | None, excess: float = 0.0) -> None:
        self._told.append(Told(code, reward, self._curve, excess))
        self._curve, self._ranked = (), None

    def reports(self, code: Code, curve: tuple[float, ...]) -> None:
        self._curve = curve

    def stop(self, number: int | None, stop: Stop) -> None:
        if number is not None:
            del self._open[number]
        self._told.append(Told(stop.code, None, stop.curve))
        self._ranked = None

    def withdraw(self, number: int, code: Code) -> None:
        # Nothing is known of it. It may be proposed again, but not be lost for ever.
        self._withdrawn[self._open.pop(number)] += 1
        self._ranked = None

    def _balanced(self, rng: random.Random) -> Code:
        """Draws a code whose choices were rarely taken: so main effects are learnt first."""
        known = [*(one.code for one in self._told), *self._open.values()]
        taken = [Counter(code[t] for code in known) for t in range(len(self.space.decisions))]
        drawn = [self.space.sample_code(rng) for _ in range(10)]
        return max(drawn, key=lambda c: sum(1.0 / (1 + n[c[t]]) for t, n in enumerate(taken)))

    def _current_view(self) -> View | None:
        step = min(LATER, 2 ** max(0, len(self._told).bit_length() - 6))
        count = len(self._told) // step * step
        if self._view is None or self._view.count != count:
            told = self._told[:count]
            excesses = {one.excess for one in told}
            if sum(one.reward is not None for one in told) < 2 and len(excesses) < 2:
                return None
            rng = self.generator(count, -1)
            draws = self._draws(count - count % (KEPT * step))
            self._view = View(self.space, self.settings, self._encoding, told, draws, rng)
        return self._view

    def _uniform_draws(self, count: int) -> list[Code]:
        rng = self.generator(count, -2)
        return [self.space.sample_code(rng) for _ in range(self.settings.pool // 2)]


class View:
    """What the model makes of some results, and a pool of candidates that it looks at."""

    def __init__(
        self,
        space: Space,
        settings: PredictorSettings,
        encoding: Encoding,
        told: Sequence[Told],
        draws: Sequence[Code],
        rng: random.Random,
    ) -> None:
        """Fits the model to results that differ, and widens uniform draws to the pool."""
        self.count, self._space, self._settings = len(told), space, settings
        self._seen = {one.code for one in told}
        self._full = [one for one in told if one.reward is not None]
        rows = kept(in_full(told), settings.memory)
        rows.sort(key=lambda row: row.reward is None)  # those with rewards first
        scored = [row for row in rows if row.reward is not None]
        self._codes = [row.code for row in rows]
        self._scaling = Scaling(encoding, self._codes)
        points = self._scaling.points(self._codes)
        far = Distances.between(points, points)
        drawing = np.random.default_rng(rng.getrandbits(64))
        self._rewards: Process | None = None
        self._margins: Process | None = None
        if len(scored) > 1:
            self._levels = Levels(scored)
            values, noises = self._levels(scored)
            self._lowest = max(float(values.min()), LOW)
            self._rewards = self._learnt(points, far, values, noises, drawing)
        if len(scored) < len(rows):
            values = margins(rows)
            self._base = float(values.mean())
            noises = np.zeros(len(rows))
            self._margins = self._learnt(points, far, values - self._base, noises, drawing)
            self._doubt = (self._margins.scale * self._margins.kernel.noise) ** 0.5
        self._pool = self._widened(draws, rng)
        self._looks = self._looked_at(self._pool)

    def _learnt(
        self, points: Points, far: Distances, values: Any, noises: Any, drawing: Any
    ) -> Process:
        """Fits a process to the values of the first rows."""
        first = slice(len(values))
        some = slice(None, len(values), -(-4 * len(values) // self._settings.memory))
        kernel = fit(far.among(some), values[some], noises[some], drawing)
        points = Points(points.codes[first], points.features[first])
        return Process(points, far.among(first), values, noises, kernel)

    def ranking(
        self, later: Sequence[Told], pending: Sequence[Code], lost: Sequence[Code]
    ) -> list[Code]:
        """Returns the pool's codes that weren't tried, the most promising first.

        Args:
            later: results that came after those that the model was fitted to.
            pending: codes whose results are to come.
            lost: codes to be left out besides.
        """
        taken = {*pending, *lost, *(one.code for one in later)}
        scores = self._scores(self._looks, in_full(later, self._full), pending)
        order = np.argsort(-scores, kind="stable").tolist()
        return [self._pool[i] for i in order if self._pool[i] not in taken]

    def _looked_at(self, codes: Sequence[Code]) -> Looks:
        """Does once what every ranking of these codes needs."""
        points = self._scaling.points(codes)
        return Looks(
            None if self._rewards is None else Outlook(self._rewards, points),
            None if self._margins is None else Outlook(self._margins, points),
        )

    def _scores(self, looks: Looks, later: Sequence[Row] = (), pending: Sequence[Code] = ()) -> Any:
        """Upper confidence bounds above the worst result, times the chance to be had."""
        to_come = [Row(code, None) for code in pending]
        scores = np.ones(())
        if looks.rewards is not None:
            rows = [*(row for row in later if row.reward is not None), *to_come]
            points = self._scaling.points([row.code for row in rows])
            mean, deviation = looks.rewards.given(points, *self._levels(rows))
            scores = np.maximum(mean + self._settings.beta * deviation - self._lowest, 1e-9)
        if looks.margins is not None:
            points = self._scaling.points([*(row.code for row in later), *pending])
            values = np.concatenate([margins(later) - self._base, np.full(len(pending), np.nan)])
            mean, deviation = looks.margins.given(points, values, np.zeros(len(values)))
            scores = scores * chance(self._base + mean, np.hypot(deviation, self._doubt))
        return scores

    def _widened(self, draws: Sequence[Code], rng: random.Random) -> list[Code]:
        size = self._settings.pool
        if self._space.size() <= size:
            return [code for code in self._space.codes() if code not in self._seen]
        pool = dict.fromkeys(draws)
        best = self._rewards or self._margins
        assert best is not None
        parents = [self._codes[i] for i in np.argsort(-best.fitted, kind="stable").tolist()]
        for _ in range(ROUNDS):
            parents = parents[: max(5, len(parents) // 5)]
            for _ in range(size // (2 * ROUNDS)):
                # The better, the more often; one decision changed, or two.
                code = mutated(self._space, parents[int(len(parents) * rng.random() ** 2)], rng)
                pool[code if rng.random() < 0.5 else mutated(self._space, code, rng)] = None
            unseen = [code for code in pool if code not in self._seen]
            if not unseen:
                break
            order = np.argsort(-self._scores(self._looked_at(unseen)), kind="stable")
            parents = [unseen[i] for i in order.tolist()]
        return [code for code in pool if code not in self._seen]


class Looks(NamedTuple):
    """The two processes' outlook on some candidates; None where there is no such process."""

    rewards: Outlook | None
    margins: Outlook | None


def chance(mean: Any, deviation: Any) -> Any:
    """Returns the (M,) chances that normal numbers are above 0.

    Bowling et al., J. Ind. Eng. Manag. 2(1), 2009: within 0.01 of the normal distribution, whose
    own tail falls so fast that far from any limit all candidates would be equal, at 0.
    """
    return 1.0 / (1.0 + np.exp(np.clip(-1.702 * mean / deviation, -30.0, 600.0)))
