"""`nas device pack`: the folder that is copied to a device to time networks there."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from nas.config.schema import SearchConfig
from nas.cost.latency.pack import RUNNER, write_pack
from nas.cost.latency.sampling import NetworkSample, design
from nas.errors import RunError
from nas.genome import Genome
from nas.runs.outputs import check_folder
from nas.runs.reference import parse
from nas.ui.console import console, counted
from search_spaces.registry import make_space

DRAWS = 400
"""Networks drawn for their units."""


def pack(
    config: SearchConfig,
    genomes: Sequence[str],
    *,
    folder: Path,
    samples: int,
    networks: int,
    classes: int,
) -> list[Path]:
    """Writes the folder that is copied to a device.

    Args:
        config: whose space networks are drawn from.
        genomes: references; networks that are timed in place of a space's.
        folder: new, or empty.
        samples: how many parts of networks to time.
        networks: how many whole networks to time; of references all.
        classes: background counts.

    Returns:
        The folder.

    Raises:
        NasError: the folder is in use or can't be written, or a reference names nothing.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunError(f"{folder}: there is something already; name a new folder")
    check_folder(folder, "OUT_DIR")
    chosen = choose_samples(config, genomes, samples, networks, classes)
    try:
        with counted("writing pieces") as step:
            write_pack(chosen, folder, step)
    except OSError as error:
        raise RunError(f"{folder}: can't be written ({error.strerror}); name another") from None
    console.print(
        f"copy {folder} to the device and type there, in that folder:",
        f'python {RUNNER} --device "Pixel 4"',
        "then bring times.json back for nas device add",
    )
    return [folder]


def choose_samples(
    config: SearchConfig, genomes: Sequence[str], samples: int, networks: int, classes: int
) -> list[NetworkSample]:
    """Chooses what to time: of the named genomes, or else of the config's space."""
    if genomes:
        named: list[Genome] = [parse(text).genome() for text in genomes]
        return design(named, named, samples, config.seed, classes)
    space, rng = make_space(config.space), random.Random(config.seed)
    drawn = [space.sample(rng) for _ in range(DRAWS)]
    whole = [space.sample(rng) for _ in range(networks)]
    return design(drawn, whole, samples, config.seed, classes)
