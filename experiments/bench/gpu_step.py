"""Training steps on a GPU: SpineNet-49 and 96 against torchvision's RetinaNet with a ResNet-50.

    python experiments/bench/gpu_step.py --batch 16 --rounds 5 --steps 10 --out FILE.json

All at 640 px in bf16, channels-last, pictures already on the GPU, in one run: SpineNet-49 and 96 as
the training loop runs them, and torchvision's `retinanet_resnet50_fpn_v2` with all its layers
trained, as its reference loop does.  The table has images a second (medians of interleaved rounds),
peak memory of each alone, and the share of the card's peak: multiply-adds of forward and backward,
as torch counts them, against the rate at which this card multiplies two large bf16 matrices.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from timing import matrix_rate, rounds_of, write
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.detection import retinanet_resnet50_fpn_v2
from train_step import Case, ours, reference_step

from nas.training.numerics import set_numerics
from search_spaces import zoo

SIZE, CLASSES, PRECISION = 640, 91, "bf16"
SIDE = 8192
"""Of the matrices that the card's peak is measured with."""

Make = Callable[[], Callable[[], None]]


def steps_of(batch: int) -> dict[str, Make]:
    """Each variant's maker, by name."""
    cases = {
        name: Case(zoo.genome(name).scaled(input_size=SIZE), batch, CLASSES, "cuda")
        for name in ("spinenet-49", "spinenet-96")
    }
    made: dict[str, Make] = {name: partial(ours, case, PRECISION) for name, case in cases.items()}
    any_case = cases["spinenet-49"]  # of which the pictures alone are taken

    def resnet() -> Callable[[], None]:
        torch.manual_seed(0)
        model = retinanet_resnet50_fpn_v2(
            weights=None,
            weights_backbone=None,
            num_classes=CLASSES,
            trainable_backbone_layers=5,
            min_size=SIZE,
            max_size=SIZE,
        )
        return reference_step(model.cuda().train(), any_case, PRECISION, channels_last=True)

    return {**made, "torchvision retinanet_resnet50_fpn_v2": resnet}


def alone(make: Make) -> tuple[float, float]:
    """Operations and peak memory in bytes of one variant's step, with no other on the card."""
    torch.cuda.empty_cache()
    step = make()
    step()
    torch.cuda.reset_peak_memory_stats()
    step()
    memory = float(torch.cuda.max_memory_allocated())
    with FlopCounterMode(display=False) as counter:
        step()
    return float(counter.get_total_flops()), memory


def main() -> None:
    """Measures, prints a table and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("no GPU: torch sees none here, so nothing is measured")
    set_numerics(None)
    card, makes = torch.cuda.get_device_name(), steps_of(given.batch)
    peak = matrix_rate(PRECISION, SIDE, "cuda")
    needs = {name: alone(make) for name, make in makes.items()}
    steps = {name: make() for name, make in makes.items()}
    found = rounds_of(steps, images=given.batch, repeats=given.steps, count=given.rounds)
    print(f"{card}, {peak / 1e12:.0f} T operations a second at most, batch {given.batch}\n")
    print("| detector | images/s | peak memory, GiB | share of the peak rate |\n|---|---|---|---|")
    for name, (operations, memory) in needs.items():
        rate = found["images_per_second"][name]
        share = operations / given.batch * rate / peak
        print(f"| {name} | {rate:.1f} | {memory / 2**30:.1f} | {share:.0%} |")
    numbers = {name: {"operations": o, "memory": m} for name, (o, m) in needs.items()}
    write(given.out, {"card": card, "peak": peak, "batch": given.batch, **found, "alone": numbers})


if __name__ == "__main__":
    main()
