"""A model of rewards proposes what may be best: a Gaussian process, with upper confidence bounds.

After a balanced initial design, a proposal is the candidate of a pool with the highest upper
confidence bound, times the chance that it can be had. What is under way counts as known, so that
candidates proposed together differ (GP-BUCB, Desautels et al., arXiv 1206.6402). The model sees a
code's decisions, and the space's features of its candidate.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import NonNegativeFloat, PositiveInt

from nas.controllers.base import Controller
from nas.controllers.encoding import Encoding, Scaling
from nas.controllers.evolution import mutated
from nas.controllers.gaussian_process import Points, Process, fit
from nas.controllers.rewards import Told, in_full, kept, levelled
from nas.settings import Settings
from nas.space import Code, Space
from nas.stopping import Stop

ROUNDS = 2
"""Times that the pool is widened by mutants of what looks best."""


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

    The model is a function of the results told so far: of all of them up to 64, and of all but the
    last few per cent where there are more. It is made when a proposal needs it, so that absorbing
    a recorded run costs nothing.
    """

    settings_type: ClassVar[type[Settings]] = PredictorSettings
    settings: PredictorSettings

    def __init__(self, space: Space, seed: int, settings: PredictorSettings | None = None) -> None:
        super().__init__(space, seed, settings)
        self._told: list[Told] = []
        self._open: dict[int, Code] = {}
        self._withdrawn: set[Code] = set()
        self._curve: tuple[float, ...] = ()  # of the result that is told next
        self._encoding = Encoding(space)
        self._view: View | None = None

    def propose(self, number: int, draw: int = 0) -> Code:
        rng = self.generator(number, draw)
        known = len(self._told) + len(self._open)
        view = self._current_view() if known >= self.settings.initial else None
        if view is None:
            return max((self.space.sample_code(rng) for _ in range(10)), key=self._rarity)
        later = [one.code for one in self._told[view.count :]]
        ranked = view.ranking([*later, *self._open.values()], self._withdrawn)
        return ranked[draw] if draw < len(ranked) else self.space.sample_code(rng)

    def asked(self, number: int, code: Code) -> None:
        self._open[number] = code

    def tell(self, number: int, code: Code, reward: float | None, excess: float = 0.0) -> None:
        del self._open[number]
        self.observe(code, reward, excess)

    def observe(self, code: Code, reward: float | None, excess: float = 0.0) -> None:
        self._told.append(Told(code, reward, self._curve))
        self._curve = ()

    def reports(self, code: Code, curve: tuple[float, ...]) -> None:
        self._curve = curve

    def stop(self, number: int | None, stop: Stop) -> None:
        if number is not None:
            del self._open[number]
        self._told.append(Told(stop.code, None, stop.curve))

    def withdraw(self, number: int, code: Code) -> None:
        # Nothing is known of it, but it looked best: it would be proposed, and lost, for ever.
        self._withdrawn.add(self._open.pop(number))

    def _rarity(self, code: Code) -> float:
        """How rarely its choices were taken: a balanced design learns main effects first."""
        known = [*(one.code for one in self._told), *self._open.values()]
        return sum(1.0 / (1 + sum(k[t] == c for k in known)) for t, c in enumerate(code))

    def _current_view(self) -> View | None:
        step = 2 ** max(0, len(self._told).bit_length() - 6)
        told = self._told[: len(self._told) // step * step]
        if sum(one.reward is not None for one in told) < 2:
            return None
        if self._view is None or self._view.count != len(told):
            rng = self.generator(len(told), -1)
            self._view = View(self.space, self.settings, self._encoding, told, rng)
        return self._view


class View:
    """What the model makes of some results, and a pool of candidates that it looks at."""

    def __init__(
        self,
        space: Space,
        settings: PredictorSettings,
        encoding: Encoding,
        told: Sequence[Told],
        rng: random.Random,
    ) -> None:
        """Fits the model to results, two of them with a reward at least, and draws the pool."""
        self.count, self._space, self._settings = len(told), space, settings
        self._seen = {one.code for one in told}
        rows = kept(in_full(told), settings.memory)
        self._scaling = Scaling(encoding, [one.code for one in rows])
        scored = [one for one in rows if one.reward is not None]
        values, noises = levelled(scored)
        self._codes = [one.code for one in scored]
        points = self._scaling.points(self._codes)
        part = slice(None, None, -(-4 * len(scored) // settings.memory))
        drawing = np.random.default_rng(rng.getrandbits(64))
        some = Points(points.codes[part], points.features[part])
        kernel = fit(some, values[part], noises[part], drawing)
        self._process = Process(points, values, noises, kernel)
        self._lowest = float(values.min())
        self._chance = None
        if len(scored) < len(rows):
            labels = np.array([1.0 if one.reward is not None else -1.0 for one in rows])
            self._base = float(labels.mean())
            codes = self._scaling.points([one.code for one in rows])
            noises = np.zeros(len(rows))
            self._chance = Process(codes, labels - self._base, noises, kernel)
        self._pool = self._drawn_pool(rng)

    def ranking(self, pending: Sequence[Code], others: set[Code]) -> list[Code]:
        """Returns the pool's codes that weren't tried, the most promising first.

        Args:
            pending: codes that came after the model's results, which it takes for known.
            others: codes to be left out besides.
        """
        taken = self._seen | set(pending) | others
        left = [code for code in self._pool if code not in taken]
        order = np.argsort(-self._scores(left, pending), kind="stable")
        return [left[i] for i in order.tolist()]

    def _scores(self, codes: Sequence[Code], pending: Sequence[Code] = ()) -> Any:
        """Upper confidence bounds above the worst result, times the chance to be had."""
        if not codes:
            return np.zeros(0)
        points = self._scaling.points(codes)
        deviation = self._process.deviation(points, self._scaling.points(pending))
        bound = self._process.mean(points) + self._settings.beta * deviation - self._lowest
        if self._chance is None:
            return bound
        chance = np.clip((1.0 + self._base + self._chance.mean(points)) / 2.0, 0.05, 1.0)
        return np.maximum(bound, 1e-9) * chance

    def _drawn_pool(self, rng: random.Random) -> list[Code]:
        size = self._settings.pool
        if self._space.size() <= size:
            return list(self._space.codes())
        pool = dict.fromkeys(self._space.sample_code(rng) for _ in range(size // 2))
        means = self._process.mean(self._scaling.points(self._codes))
        parents = [self._codes[i] for i in np.argsort(-means, kind="stable").tolist()]
        for _ in range(ROUNDS):
            parents = parents[: max(5, len(parents) // 5)]
            for _ in range(size // (2 * ROUNDS)):
                # The better, the more often; one decision changed, or two.
                code = mutated(self._space, parents[int(len(parents) * rng.random() ** 2)], rng)
                pool[code if rng.random() < 0.5 else mutated(self._space, code, rng)] = None
            unseen = [code for code in pool if code not in self._seen]
            if not unseen:
                break
            order = np.argsort(-self._scores(unseen), kind="stable")
            parents = [unseen[i] for i in order.tolist()]
        return list(pool)
