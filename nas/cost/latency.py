"""Latency by a device's table: the time of each unit there, summed before anything is trained.

Such a sum knows nothing of what a runtime fuses or keeps in its cache. It is good for limits and
for ranking; how far it is off, only whole networks timed on the device can tell.
"""

from __future__ import annotations

import json
import math
import reprlib
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PositiveInt, ValidationError, field_validator

from nas.cost.signature import signatures
from nas.errors import ConfigError
from nas.genome import Genome
from nas.settings import Settings

MAX_BYTES = 10_000_000
MAX_UNITS = 50_000
MAX_MS = 1e6  # a quarter of an hour
PRINTABLE = r"^\P{C}+$"  # what is shown has no control characters

Words = Annotated[str, Field(pattern=PRINTABLE, max_length=200)]
Signature = Annotated[str, Field(pattern=PRINTABLE, max_length=1000)]


class CostSettings(Settings):
    """What a candidate is measured by before any training, besides what is counted.

    Attributes:
        latency_table: a device's times (`LatencyTable`, as JSON); they give the cost latency_ms.
    """

    latency_table: Path | None = None

    @field_validator("latency_table")
    @classmethod
    def _found_from_everywhere(cls, path: Path | None) -> Path | None:
        return None if path is None else path.absolute()

    def table(self) -> LatencyTable | None:
        """Reads the table, if there is one.  Raises ConfigError as `LatencyTable.read` does."""
        return None if self.latency_table is None else LatencyTable.read(self.latency_table)


class LatencyTable(Settings):
    """Times of one picture on one device, under stated conditions.

    Attributes:
        device, runtime, precision: in words, such as "Pixel 4", "onnxruntime 1.31", "float32".
        threads: that the runtime uses.
        overhead_ms: of what every network has: preparing the picture, decoding boxes, NMS.
        unit_ms: of each kind of unit, by its signature (`nas.cost.signature`).

    Example:
        >>> table = LatencyTable.read(Path("pixel4.json"))
        >>> costs = lambda genome: profile(genome, num_classes=32, latency=table).costs()
        >>> search(space, evaluate, budget=120, limits={"latency_ms": 30}, costs=costs)
    """

    version: Literal[1]
    device: Words
    runtime: Words
    threads: PositiveInt
    precision: Words
    overhead_ms: Annotated[float, Field(ge=0, le=MAX_MS, allow_inf_nan=False)]
    unit_ms: Annotated[
        dict[Signature, Annotated[float, Field(gt=0, le=MAX_MS, allow_inf_nan=False)]],
        Field(min_length=1, max_length=MAX_UNITS),
    ]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Reads a table's JSON.

        Raises:
            ConfigError: it can't be read or isn't one, in one line that names the field.
        """
        try:
            with path.open("rb") as file:
                text = file.read(MAX_BYTES + 1)
            if len(text) > MAX_BYTES:
                raise ValueError("it is larger than 10 MB")
            return cls.model_validate(json.loads(text, object_pairs_hook=_distinct), strict=True)
        except ValidationError as error:
            said = _first_problem(error)
        except (OSError, ValueError, RecursionError) as error:
            said = " ".join(str(error).split())[:200]
        raise ConfigError(f"{path}: no latency table: {said}; mend it, or name another")

    def require(self, names: Collection[str]) -> None:
        """Refuses to go on without one of these signatures; names the first, and says how many.

        Raises:
            ConfigError: the table lacks some.
        """
        missing = [name for name in names if name not in self.unit_ms]
        if missing:
            raise ConfigError(
                f"the latency table of {self.device} has no time for {missing[0]!r}, and lacks "
                f"{len(missing)} of the {len(names)} entries that are needed; measure them and add "
                "them to its unit_ms (nas.cost.signatures lists a genome's)"
            )

    def without_new(self, before: LatencyTable) -> dict[str, Any]:
        """What it says of that which an earlier table spoke of, too."""
        times = {name: self.unit_ms.get(name, "absent") for name in before.unit_ms}
        return self.model_dump() | {"unit_ms": times}


def latency_ms(genome: Genome, table: LatencyTable, num_classes: int = 91) -> float:
    """The time of one picture in milliseconds: the overhead, and that of every deployed unit.

    Args:
        genome: as deployed.
        num_classes: background counts.

    Raises:
        GenomeError: when the genome isn't legal.
        ConfigError: when the table lacks units; names the first, and says how many.
    """
    counts = signatures(genome, num_classes)
    table.require(counts)
    times = (count * table.unit_ms[name] for name, count in counts.items())
    return math.fsum((table.overhead_ms, *times))  # exact: the listing's order changes no digit


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuses a key that stands there twice: of two times, which one is meant?"""
    found = dict(pairs)
    if len(found) < len(pairs):
        twin, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"{twin[:100]!a} stands there twice")
    return found


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(
        f"{step:.100}" if isinstance(step, str) else str(step) for step in problem["loc"]
    )
    met = "" if problem["type"] == "missing" else f" (met {reprlib.repr(problem['input'])})"
    said = f"{where or 'document'}: {problem['msg']}{met}"
    return said.encode("unicode_escape").decode()
