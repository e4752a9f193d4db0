"""What early stopping would have done to a search whose trials all ran in full.

    nas search CONFIG --data DIR --run RUN --set 'stopping.rungs=[1,2,3]' \\
        --set stopping.eta=1000000 --set proxy.recipe.schedule=constant --set proxy.recipe.epochs=4
    python experiments/bench/early_stopping.py RUN --rungs 1 3 --eta 3

The first line records every trial's curve and stops nobody, since one in a million goes on. The
second prints Kendall's τ of each report against the last one, and replays the trials, in the order
in which they were asked, under asynchronous successive halving: the share of reports that it would
have saved, and whether the best of those that it leaves is the best of all.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from nas.runs.folder import Run
from nas.study.stopping import StoppingSettings, make_stopper
from nas.study.trial import Status
from proxies.reliability import kendall_tau


def replayed(curves: list[tuple[float, ...]], stopping: StoppingSettings) -> list[int]:
    """How many reports each trial comes to, one trial after the other."""
    reached: list[int] = []
    stopper = make_stopper(stopping)
    for number, curve in enumerate(curves):
        length = len(curve)
        for rung in stopping.rungs:
            others = [
                other[rung - 1]
                for other, came in zip(curves[:number], reached, strict=True)
                if came >= rung
            ]
            if rung < length and not stopper.goes_on(curve[rung - 1], others):
                length = rung
                break
        reached.append(length)
    return reached


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--rungs", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--eta", type=int, default=3)
    given = parser.parse_args()
    stopping = StoppingSettings(rungs=tuple(given.rungs), eta=given.eta)
    records, objective = Run(given.run).read_search()
    rows = [r for r in records if r.phase == "search" and r.status is Status.DONE and r.curve]
    curves = [objective.curve(row) for row in rows if row.cached_from is None]
    if not curves:
        raise SystemExit(
            f"{given.run}: no trial has a curve; record them as this script's head says"
        )
    length = min(len(curve) for curve in curves)
    last = [curve[-1] for curve in curves]
    print(f"{len(curves)} trials of {length} reports\n\n| report | Kendall's τ with the last |")
    print("|---|---|")
    for report in range(1, length):
        print(f"| {report} | {kendall_tau([curve[report - 1] for curve in curves], last):.2f} |")
    reached = replayed(curves, stopping)
    saved = 1 - sum(reached) / sum(len(curve) for curve in curves)
    full = [n for n, curve in enumerate(curves) if reached[n] == len(curve)]
    chosen, best = max(full, key=lambda n: last[n]), max(range(len(last)), key=lambda n: last[n])
    print(
        f"\nrungs {given.rungs}, one in {given.eta} goes on: {len(full)} of {len(curves)} trials "
        f"end in full, {saved:.0%} of the reports are saved; the best that is left scores "
        f"{last[chosen]:.3f}, the best of all {last[best]:.3f}"
    )


if __name__ == "__main__":
    main()
