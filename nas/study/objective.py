"""From metrics and costs to one reward, to limits, and to a point on the Pareto front's axes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import Field, PositiveFloat, model_validator

from nas.errors import ConfigError, RunError
from nas.settings import Settings
from nas.study.trial import Metrics, Record

WEIGHTS = {"soft": -0.07, "hard": -1.0, "absolute": -0.10}
"""The published weight of each shape; see `RewardShape`."""


class RewardShape(Settings):
    """How a cost T with a target T₀ weighs on the quality Q, with a weight w below 0.

    One search ends near its target by the kind absolute, the default; by the others it takes
    several searches, with other targets or weights.

    - soft: Q (T / T₀)^w on both sides of the target. w = -0.07: twice the cost must bring 5 % more
      quality (MnasNet, arXiv 1807.11626, equations 2 and 3 with α = β).
    - hard: Q up to the target, Q (T / T₀)^w above it. w = -1 (the same with α = 0, β = -1).
    - absolute: Q + w |T / T₀ - 1|, so that candidates gather at the target from both sides.
      w = -0.10 (TuNAS, arXiv 2008.06120, and its code's default), which suits a Q between 0 and 1.

    Attributes:
        cost: the name of T, a cost (macs) or a metric (latency_ms).
        target: T₀, in T's unit.
        weight: w; the published one of the kind if None.
    """

    kind: Literal["soft", "hard", "absolute"] = "absolute"
    cost: str
    target: float = Field(gt=0, allow_inf_nan=False)
    weight: float | None = Field(default=None, lt=0, allow_inf_nan=False)

    @property
    def w(self) -> float:
        """The weight that applies."""
        return WEIGHTS[self.kind] if self.weight is None else self.weight

    def reward(self, quality: float, cost: float) -> float:
        """Returns the reward of one candidate.

        Args:
            quality: Q.
            cost: T.

        Raises:
            RunError: if the kind multiplies, and the quality or the cost can't be multiplied.
        """
        ratio = cost / self.target
        if self.kind == "absolute":
            return quality + self.w * abs(ratio - 1.0)
        if self.kind == "hard":
            ratio = max(ratio, 1.0)
        # A negative quality would gain from a higher cost.
        if quality < 0 or ratio <= 0:
            raise RunError(
                f"objective.shape.kind {self.kind!r} multiplies, and can't take a quality of "
                f"{quality:g} at {self.cost} {cost:g}; choose 'absolute'"
            )
        return quality * ratio**self.w


class ObjectiveSettings(Settings):
    """What to search for.

    Attributes:
        maximize: the metric that says how good a candidate is; the reward, unless it is shaped.
        minimize: metrics or costs that span the Pareto front beside it; if empty, what limits and
            shape name.
        limits: upper limits on costs of the candidate as deployed (params, macs, ...), checked
            before any training.
        shape: weighs a cost into the reward; None leaves the metric as it is.
        spread: tells the controller what a candidate adds to the Pareto front (`FrontReward` of
            `nas.study.pareto`), not its own worth; finalists are still chosen by the metric.
    """

    maximize: str = "ap50"
    minimize: tuple[str, ...] = ()
    limits: dict[str, PositiveFloat] = Field(default_factory=dict)
    shape: RewardShape | None = None
    spread: bool = False

    @model_validator(mode="after")
    def _one_way_to_weigh_costs(self) -> Self:
        if self.spread and self.shape is not None:
            raise ValueError("shape and spread both weigh costs; set one of them")
        if self.spread and not self.axes:
            raise ValueError("spread needs a cost beside the metric; name one in minimize")
        return self

    def describe(self) -> dict[str, Any]:
        """Returns what may not change while a run goes on.

        A setting that is off is left out, so that a run from before it was there goes on.
        """
        fields = self.model_dump(mode="json")
        return {name: value for name, value in fields.items() if value not in (None, False)}

    @property
    def axes(self) -> tuple[str, ...]:
        """The names that the Pareto front minimises."""
        return self.minimize or tuple(dict.fromkeys((*self.limits, *self._shaped)))

    @property
    def _shaped(self) -> tuple[str, ...]:
        """The name of the cost in the shape, if there is one."""
        return () if self.shape is None else (self.shape.cost,)

    @property
    def score_name(self) -> str:
        """What to call the number that candidates are ranked by."""
        return self.maximize if self.shape is None else "reward"

    def check(self, metrics: Metrics, costs: Metrics) -> None:
        """Refuses names that nothing reports, as soon as a first result shows what is reported.

        Args:
            metrics: of one candidate.
            costs: of the same.

        Raises:
            RunError: naming the setting and the names that there are.
        """
        self.quality(metrics)
        names = sorted(costs.keys() | metrics.keys())
        for field, used in (("minimize", self.minimize), ("shape.cost", self._shaped)):
            for name in used:
                if name not in names:
                    raise RunError(_unknown(field, name, "costs and metrics", names))

    def quality(self, metrics: Metrics) -> float:
        """Returns the metric to maximise.

        Raises:
            RunError: if the evaluator doesn't report it.
        """
        if self.maximize not in metrics:
            raise RunError(
                f"objective.maximize is {self.maximize!r}, but the evaluator reports "
                f"{', '.join(sorted(metrics)) or 'nothing'}; name one of these"
            )
        return float(metrics[self.maximize])

    def reward(self, metrics: Metrics, costs: Metrics) -> float:
        """Returns what a candidate is worth: the metric, or what the shape makes of it.

        Args:
            metrics: of one candidate, checked and finite.
            costs: of the same.

        Raises:
            RunError: if the shape can't take them.
        """
        quality = self.quality(metrics)
        if self.shape is None:
            return quality
        return self.shape.reward(quality, {**costs, **metrics}[self.shape.cost])

    def score(self, record: Record) -> float:
        """Returns what a scored row is ranked by: its `reward`, also in a search that spreads."""
        return self.reward(record.metrics, record.costs)

    def curve(self, record: Record) -> tuple[float, ...]:
        """Returns a row's rewards, report by report."""
        return tuple(self.reward(metrics, record.costs) for metrics in record.curve)

    def not_finite(self, metrics: Metrics, costs: Metrics) -> dict[str, float]:
        """Returns the numbers that the objective uses and that aren't finite.

        Others may be not a number: COCO's AP of small boxes is, where there are none.
        """
        values = {**costs, **metrics}
        used = dict.fromkeys((self.maximize, *self.axes, *self._shaped))
        return {n: values[n] for n in used if n in values and not math.isfinite(values[n])}

    def violations(self, costs: Mapping[str, float]) -> dict[str, float]:
        """Returns, for each limit that is exceeded, by which share of it (0.1 is 10 % over).

        Raises:
            ConfigError: if a limit names a cost that isn't computed.
        """
        over: dict[str, float] = {}
        for name, limit in self.limits.items():
            if name not in costs:
                raise ConfigError(_unknown("limits", name, "costs", sorted(costs)))
            if not costs[name] <= limit:  # a cost that is not a number exceeds every limit
                excess = costs[name] / limit - 1.0
                over[name] = excess if math.isfinite(excess) else 1.0
        return over

    def point(self, record: Record) -> tuple[float, ...]:
        """Returns (metric, -cost, ...): the row's place, where more is better on each axis."""
        values = {**record.costs, **record.metrics}
        costs = (values.get(name, math.inf) for name in self.axes)
        return (self.quality(record.metrics), *(-cost for cost in costs))


def _unknown(field: str, name: str, kinds: str, names: Sequence[str]) -> str:
    """Returns what to say of a name in a setting that nothing computes or reports."""
    message = f"objective.{field} names {name!r}; known {kinds} are {', '.join(names) or 'none'}"
    if name != "latency_ms":
        return message
    return (
        f"{message}; give a device's table: costs.latency_table=FILE, or latency=... of nas.profile"
    )
