"""What `nas search --dry-run` shows: costs of the space's networks, what limits leave, the plan."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import numpy as np
from rich.table import Table

from nas.config.schema import SearchConfig
from nas.planning.costs import DRAWS
from nas.report.formatting import cost_text, objective_text, time_text
from nas.study.budget import TIMED, Budget, Plan
from nas.study.objective import ObjectiveSettings
from nas.study.proposals import Costs
from nas.study.stopping import StopperSettings, make_stopper
from nas.ui.console import console
from proxies.base import Proxy
from search_spaces.base import DetectorSpace

PERCENTILES = (5, 25, 50, 75, 95)


def show_plan(config: SearchConfig, space: DetectorSpace, proxy: Proxy, costs: Costs) -> None:
    """Prints the plan of a search.

    Raises:
        ConfigError: if a limit names a cost that isn't computed.
    """
    rng = random.Random(config.seed)
    drawn = [costs(space.sample(rng)) for _ in range(DRAWS)]
    console.print(costs_table(drawn))
    table = Table(title="plan of the search", show_header=False, title_justify="left")
    rows = _rows(config, space, proxy, limits_text(drawn, config.objective))
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table)


def _rows(config: SearchConfig, space: DetectorSpace, proxy: Proxy, left: str) -> dict[str, str]:
    plan = plan_of(config)
    rows = {
        **proxy.plan(),
        "space": f"{space.size():.2e} codes of {len(space.decisions)} decisions",
        "looking for": f"the highest {objective_text(config.objective)}",
        "limits leave": left,
        "controller": config.controller.name,
        "budget": f"{budget_text(config)}; {config.control.share:.0%} of trials are uniform draws",
        "early stopping": stopping_text(config.stopping),
        "re-evaluation": f"{config.finalists.count} an arm × {config.finalists.repeats} seeds × "
        f"{config.finalists.length} times as long, "
        f"{'within the time for trials' if plan.is_timed else 'on top of the budget'}",
        "forecast": f"{'how many trials, and when' if plan.is_timed else 'when'} "
        f"all is over: known after {TIMED * plan.workers} trials",
        "workers": f"{config.compute.at_once} ({config.compute.executor})",
    }
    if config.costs.latency_table is not None:
        rows["latency"] = f"by {config.costs.latency_table}"
    if config.warm_start is not None:
        rows["warm start"] = f"what {config.warm_start} has scored"
    return rows


def costs_table(costs: Sequence[Mapping[str, float]]) -> Table:
    """Returns the percentiles of each cost."""
    title = f"what the space's networks cost: percentiles of {len(costs)} uniform draws"
    table = Table(title=title, title_justify="left")
    table.add_column("cost")
    for percent in PERCENTILES:
        table.add_column(f"{percent} %", justify="right", no_wrap=True)
    for name in costs[0]:
        values = np.percentile([cost[name] for cost in costs], PERCENTILES)
        table.add_row(name, *(cost_text(name, float(value)) for value in values))
    return table


def limits_text(costs: Sequence[Mapping[str, float]], objective: ObjectiveSettings) -> str:
    """Returns the share of draws that the limits leave, together and, if several, each."""
    if not objective.limits:
        return "all: there are none"
    over = [objective.violations(cost) for cost in costs]
    left = _share(sum(not names for names in over), len(over))
    lines = [f"{left} of uniform draws, with 95 % certainty"]
    if len(objective.limits) > 1:
        for name, limit in objective.limits.items():
            left = _share(sum(name not in names for names in over), len(over))
            lines.append(f"{name} at most {cost_text(name, limit)} alone: {left}")
    return "\n".join(lines)


def stopping_text(stopping: StopperSettings | None) -> str:
    """Says when trials may be stopped: `after epochs 1, 3; one in 3 goes on`, or `none`."""
    if stopping is None:
        return "none"
    epochs = "epochs" if len(stopping.rungs) > 1 else "epoch"
    return f"after {epochs} {', '.join(map(str, stopping.rungs))}; {make_stopper(stopping).rule}"


def share_interval(hits: int, draws: int) -> tuple[float, float]:
    """Returns the 95 % interval of a share: Wilson's (JASA 22 (1927), 209-212)."""
    from scipy.stats import binomtest  # slow to load, and a plan alone needs it

    interval = binomtest(hits, draws).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def budget_text(config: SearchConfig) -> str:
    """Returns the budget in words: `120 trials`, or `8h, of which 3 h 12 min stay for …`."""
    plan = plan_of(config)
    if not plan.is_timed:
        return f"{plan.trials:g} trials"
    kept = f", of which {time_text(plan.retraining)} stay for retraining" if plan.retraining else ""
    return f"{config.budget}{kept}"


def plan_of(config: SearchConfig) -> Plan:
    """Returns what a config's budget has to pay for."""
    return Budget.parse(config.budget).plan(config.study_settings, config.compute.at_once)


def _share(hits: int, draws: int) -> str:
    low, high = (100 * bound for bound in share_interval(hits, draws))
    return f"{100 * hits / draws:.0f} % ({low:.1f} to {high:.1f} %)"
