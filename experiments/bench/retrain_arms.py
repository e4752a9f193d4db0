"""Retrains what each arm of a search chose, and SpineNet-49, alike, and compares them on `val`.

    python experiments/bench/retrain_arms.py runs/fod --data DIR --out DIR2 --seeds 5 --length 3

The comparison: the best of the controller's arm and of the uniform
arm, after re-evaluation, and SpineNet-49, each at the search's proxy scale with its width set so
that multiply-adds are within 5 % of SpineNet-49's; all of `train`, the proxy's recipe with so many
epochs that at least `length` times as many photos are seen, paired seeds; AP50 on `val` by the last
weights.  The difference has a
95 % interval over seeds (Student's t) and one over images (block bootstrap).  Where an interval
holds 0 the text says so.  Trainings that are in DIR2 already aren't run again.
"""

from __future__ import annotations

import numpy as np
from retraining import choices, compared, parsed, search_of, stretched, tell

from nas.config.schema import SearchConfig
from nas.cost import profile
from nas.data.coco import load_split
from nas.genome import Genome
from nas.runs.folder import Run
from search_spaces.spinenet.listing import genome_from_listing
from search_spaces.spinenet.space import SpineNetSpaceSettings
from search_spaces.spinenet.zoo import SPINENET_49_ROWS

TOLERANCE = 0.05
"""How far the multiply-adds of any two may be apart."""


def candidates(run: Run, config: SearchConfig, classes: int) -> dict[str, Genome]:
    """Both arms' choices and SpineNet-49 at the proxy's scale, with equal multiply-adds."""
    if not isinstance(config.space, SpineNetSpaceSettings):
        raise SystemExit(
            f"{run.path}: its space is {config.space.name}; give a search of SpineNets"
        )
    spinenet_49 = genome_from_listing(SPINENET_49_ROWS, config.space.deploy, "spinenet-49")
    deployed = {"spinenet-49": spinenet_49, **choices(run)}
    scale = config.proxy.scale.model_dump()
    small = {name: genome.scaled(**scale) for name, genome in deployed.items()}
    target = profile(small["spinenet-49"], num_classes=classes).macs
    near = {name: with_macs(genome, target, classes) for name, genome in small.items()}
    macs = [profile(genome, num_classes=classes).macs for genome in near.values()]
    if max(macs) / min(macs) - 1 > TOLERANCE:
        raise SystemExit(f"multiply-adds {min(macs):.4g} to {max(macs):.4g}: no widths are nearer")
    return near


def with_macs(genome: Genome, target: float, classes: int) -> Genome:
    """The genome at the width whose multiply-adds come nearest to `target`."""

    def distance(factor: float) -> float:
        return abs(profile(genome.scaled(width=factor), num_classes=classes).macs / target - 1)

    best = min([1.0, *np.geomspace(0.4, 2.5, 200).tolist()], key=distance)
    return genome if best == 1.0 else genome.scaled(width=best)


def main() -> None:
    """Trains what is missing, prints and writes the table."""
    given = parsed(__doc__)
    run = Run.open(given.run)
    config = search_of(run)
    train = load_split(given.data, "train")
    genomes = candidates(run, config, 1 + len(train.categories))
    given.out.mkdir(parents=True, exist_ok=True)
    recipe = stretched(config, len(train), given.length)
    tell(compared(genomes, dict.fromkeys(genomes, recipe), config, given), given)


if __name__ == "__main__":
    main()
