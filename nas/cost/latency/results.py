"""What a runner wrote on a device, checked, and the device's table that is made from it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from nas.cost.latency.conditions import Time, Words, read_json, refusal, validated
from nas.cost.latency.features import extent, family
from nas.cost.latency.fit import TimedSample, fit_weights
from nas.cost.latency.table import (
    MOST_FAMILIES,
    MOST_TIMES,
    Accuracy,
    DeviceTable,
    Family,
    Measurement,
    MeasurementProtocol,
)
from nas.errors import ConfigError
from nas.genome.operators import Operator

WHAT = "times of a device"
FEWEST = 8
"""Times that a table is made from; fewer can't tell operators apart."""


class Timing(Measurement):
    """The times of a sample or network as the runner writes them: one for each round."""

    ms: Annotated[tuple[Time, ...], Field(min_length=1, max_length=1000)]  # type: ignore[assignment]


class DeviceTimes(MeasurementProtocol):
    """All that a runner wrote.

    Attributes:
        device, runtime, precision, threads: see `nas.cost.latency.conditions.Conditions`.
        minutes: that it took.
    """

    format: Literal["spinenas device times"]
    version: Literal[1]
    device: Words
    runtime: Words
    threads: PositiveInt
    precision: Words
    minutes: Annotated[float, Field(ge=0, le=1e6)]
    pieces: Annotated[tuple[Timing, ...], Field(max_length=MOST_TIMES)]

    @classmethod
    def read(cls, path: Path) -> DeviceTimes:
        """Reads a runner's file.

        Raises:
            ConfigError: it isn't one, is of another version, or holds no times; in one line.
        """
        tree = read_json(path, WHAT)
        if isinstance(tree, dict) and tree.get("version") != 1:
            message = f"it is of version {str(tree.get('version'))[:40]!a}, this toolkit reads 1"
            raise refusal(path, WHAT, message)
        times = validated(cls, tree, path, WHAT)
        if not times.pieces:
            raise refusal(path, WHAT, "it holds none; run the pack's runner.py on the device again")
        return times

    def measurements(self) -> list[Measurement]:
        """Returns a median of the rounds for each sample."""
        return [
            Measurement(**{**timing.model_dump(), "ms": statistics.median(timing.ms)})
            for timing in self.pieces
        ]


def make_table(times: DeviceTimes, before: DeviceTable | None = None) -> DeviceTable:
    """Makes a device's table, or adds times to it; a sample that is timed again is replaced.

    Args:
        times: what a runner wrote.
        before: the device's table so far.

    Raises:
        ConfigError: it is of another device, runtime, precision or number of threads; or there are
            too few times.
    """
    measured = {_identity(one): one for one in times.measurements()}
    if before is not None:
        check_same(before, times.device, times.runtime, times.threads, times.precision)
        measured = {_identity(one): one for one in before.measured} | measured
    kept = list(measured.values())
    if len(kept) < FEWEST:
        raise ConfigError(
            f"{len(kept)} pieces were timed on {times.device}; a table needs {FEWEST} at least: "
            "raise --pieces, or add the times of another pack"
        )
    return _fitted(times, kept, 0.0 if before is None else before.overhead_ms)


def _identity(one: Measurement) -> tuple[bool, tuple[tuple[str, int], ...]]:
    return one.whole, tuple(sorted(one.operators.items()))


def check_same(
    before: DeviceTable, device: str, runtime: str, threads: int, precision: str
) -> None:
    """Refuses to add to a table what was measured under other conditions; names the first."""
    now = {"device": device, "runtime": runtime, "threads": threads, "precision": precision}
    for field, new in now.items():
        old = getattr(before, field)
        if new != old:
            raise ConfigError(
                f"{field} of these times is {new!r}, and of the table {old!r}; times of another "
                "device or runtime make a table of their own: name another --out"
            )


def _fitted(times: DeviceTimes, kept: Sequence[Measurement], overhead_ms: float) -> DeviceTable:
    parsed = [
        {Operator.parse(text): count for text, count in one.operators.items()} for one in kept
    ]
    largest: dict[str, int] = {}
    for operators in parsed:
        for operator in operators:
            name = family(operator)
            largest[name] = max(largest.get(name, 1), extent(operator))
    if len(largest) > MOST_FAMILIES:
        raise ConfigError(
            f"{len(largest)} kinds of operators were timed on {times.device}; a table has "
            f"{MOST_FAMILIES} at most: add fewer packs to it"
        )
    fitted = fit_weights(
        [TimedSample(ops, one.ms, one.whole) for ops, one in zip(parsed, kept, strict=True)]
    )
    networks = sum(one.whole for one in kept)
    return DeviceTable(
        version=2,
        device=times.device,
        runtime=times.runtime,
        threads=times.threads,
        precision=times.precision,
        overhead_ms=overhead_ms,
        protocol=MeasurementProtocol(
            **{name: getattr(times, name) for name in MeasurementProtocol.model_fields}
        ),
        accuracy=Accuracy(
            pieces=len(kept) - networks,
            networks=networks,
            piece_error=fitted.sample_error,
            network_error=fitted.network_error,
        ),
        channel_block=fitted.machine.channel_block,
        near_bytes=fitted.machine.near_bytes,
        families={
            name: Family(ms=weights, largest=largest[name])
            for name, weights in sorted(fitted.ms.items())
        },
        measured=tuple(kept),
    )
