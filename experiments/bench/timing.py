"""Variants that take turns within rounds, timed while nothing else runs.

A drift of the machine meets all variants of a round, so ratios are taken within rounds.  A round
during which other processes used more than a tenth of a core is done again.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor

OTHER_LOAD = 0.1
"""Share of one core that other processes may use during a round."""

Steps = Mapping[str, Callable[[], object]]


def pictures(
    count: int, size: int, classes: int, objects: int, least: int
) -> tuple[Tensor, Tensor, Tensor]:
    """A batch to learn from, the same each time.

    Args:
        count: pictures; size: their side in pixels.
        classes: background counts.
        objects: boxes of a picture; least: their smallest side in pixels.

    Returns:
        uint8 `(count, 3, size, size)` in channels-last memory, boxes xyxy, labels.
    """
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (count, size, size, 3), generator=generator, dtype=torch.uint8)
    corner = torch.rand(count, objects, 2, generator=generator) * size / 2
    side = least + torch.rand(count, objects, 2, generator=generator) * size / 3
    labels = torch.randint(1, classes, (count, objects), generator=generator)
    return pixels.permute(0, 3, 1, 2), torch.cat([corner, corner + side], dim=-1), labels


def matrix_rate(precision: str, side: int, device: str = "cpu", repeats: int = 20) -> float:
    """Operations a second of a product of two matrices, a multiply-add being two.

    Args:
        precision: `fp32` or `bf16`.
        side: of the matrices.
        device: of torch; on a processor with the threads that torch has.
        repeats: products, of which the median counts.
    """
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in "ab")
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    times = []
    for _ in range(repeats):
        wait()
        started = time.perf_counter()
        left @ right
        wait()
        times.append(time.perf_counter() - started)
    return 2 * side**3 / statistics.median(times)


def rounds_of(steps: Steps, *, images: int, repeats: int, count: int) -> dict[str, Any]:
    """Images per second of each variant, by round.

    Args:
        steps: the variants; each is called once beforehand.
        images: that one call goes through.
        repeats: calls of a variant in a round.
        count: rounds.
    """
    _timed(steps, images, 1)
    rounds: list[dict[str, float]] = []
    again = 0
    while len(rounds) < count:
        with _other_load() as load:
            rates = _timed(steps, images, repeats)
        if load[0] > OTHER_LOAD and again < 5 * count:
            again += 1
            print(f"other processes used {load[0]:.2f} cores: this round is done again")
            continue
        rounds.append(rates)
    return {
        "images_per_second": {n: statistics.median(r[n] for r in rounds) for n in steps},
        "rounds": rounds,
        "rounds_done_again": again,
    }


def told(found: Mapping[str, Any], base: str) -> str:
    """A line for each variant: images a second, and its ratio to `base` with the range."""
    lines = []
    for name, rate in found["images_per_second"].items():
        ratios = sorted(r[name] / r[base] for r in found["rounds"] if base in r)
        middle = f", {statistics.median(ratios):.2f} × {base}" if ratios else ""
        spread = f" ({ratios[0]:.2f} to {ratios[-1]:.2f})" if ratios else ""
        lines.append(f"{name}: {rate:.1f} images a second{middle}{spread}")
    return "\n".join(lines)


def write(path: Path | None, report: Mapping[str, Any]) -> None:
    """Writes what was found, with processor and version, if there is a path."""
    if path:
        where = {"cpu": torch.backends.cpu.get_cpu_capability(), "torch": torch.__version__}
        path.write_text(json.dumps({**report, **where}, indent=1) + "\n")


@contextmanager
def _other_load() -> Iterator[list[float]]:
    """Measures what other processes used, in cores."""
    found: list[float] = []
    before, mine, started = _busy(), time.process_time(), time.monotonic()
    yield found
    seconds = time.monotonic() - started
    found.append((_busy() - before - (time.process_time() - mine)) / seconds)


def _busy() -> float:
    """Seconds that all cores together have been busy."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq + times.steal)


def _timed(steps: Steps, images: int, repeats: int) -> dict[str, float]:
    rates = {}
    for name, step in steps.items():
        started = time.perf_counter()
        for _ in range(repeats):
            step()
        rates[name] = images * repeats / (time.perf_counter() - started)
    return rates
