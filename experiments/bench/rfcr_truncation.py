"""RFCR on and off at three truncation points of one backbone, trained alike from scratch.

    python experiments/bench/rfcr_truncation.py --data DIR --out DIR2

The backbone is MobileNetV2 × 0.75: whole, without its last 1×1 convolution, and, as YOLO-ReT has
it, without its last block too.  The head is SSDlite's on maps of strides 8, 16 and 32, which it
reads through RFCR or as they are.  All have the recipe of `nas/experiments/mobile_fod.yaml` with
`--epochs` epochs of all of `train`, paired seeds, and are judged on `val` by the last weights.
Nothing is pretrained, so this is about what the parts add to the network's capacity, and not about
YOLO-ReT's own claim, which is that the last blocks have nothing to transfer.  What is in DIR2
already isn't run again.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

from retraining import Training, search_of_file, table, train_missing, verdicts

from nas.config.loading import EXPERIMENTS
from nas.genome import Genome
from nas.genome.network import Truncation
from nas.genome.parts import NoNeck
from search_spaces import zoo

TITLE = "From scratch: tests capacity, not transfer"
PUBLISHED = "yoloret-mobilenetv2-0.75"
ENDS = {"whole": "18", "without-conv": "17", "without-block": "16"}
"""The last row that is left, of rows 0 to 18."""


def detector(end: str, rfcr: bool, size: int) -> Genome:
    """YOLO-ReT's backbone with RFCR, cut at another row or without RFCR."""
    genome = zoo.genome(PUBLISHED)
    last = genome.blocks[-1].id
    taps = (genome.taps[0].replace(block=end), *genome.taps[1:])
    if not rfcr:  # it alone reads the map of stride 4
        genome, taps = genome.replace(neck=NoNeck()), taps[:3]
    cut = None if end == last else Truncation(after=end, through=last)
    return genome.replace(taps=taps, truncation=cut).scaled(input_size=size)


def main() -> None:
    """Trains what is missing, prints and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--size", type=int, default=160, help="side of the input in pixels")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    config = search_of_file(EXPERIMENTS / "mobile_fod.yaml")
    recipe = config.proxy.trial_recipe(given.epochs / config.proxy.recipe.epochs)
    trainings = [
        Training(
            f"{name}{'-rfcr' if rfcr else ''}",
            detector(end, rfcr, given.size).to_json(),
            seed,
            recipe.model_dump(mode="json"),
            given.data,
            config.data.model_dump(mode="json"),
            given.out,
        )
        for seed in range(given.seeds)
        for (name, end), rfcr in itertools.product(ENDS.items(), (False, True))
    ]
    rows = train_missing(trainings, given.workers)
    text = f"{TITLE}\n\n{table(rows)}\n\n{verdicts(rows, given.data, given.out)}"
    (given.out / "table.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
