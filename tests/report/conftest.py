"""A finished search whose scores are made up: no training, but a real store."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nas.cost import profile
from nas.searching import search
from nas.space import ChoiceSpace
from nas.study.result import Result
from nas.study.settings import ControlSettings, FinalistSettings, StudySettings
from nas.study.stopping import StoppingSettings
from search_spaces.spinenet.space import SpineNetSpace


def made_up(genome: Any, seed: int) -> dict[str, float]:
    """A noisy score that grows with the parameters; every now and then a failure."""
    rng = random.Random(seed)
    if rng.random() < 0.15:
        raise RuntimeError("<b>shapes</b> differ & more")
    size = profile(genome).params / 1e9
    return {"ap50": 0.3 + 2 * size + rng.gauss(0, 0.02), "ap": 0.1 + size}


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """The folder of a run, and its result."""
    path = tmp_path_factory.mktemp("runs") / "made up"
    result = search(
        SpineNetSpace(),
        made_up,
        "random",
        budget=24,
        run=path,
        objective="ap50",
        limits={"params": 26e6},
        costs=lambda genome: profile(genome).costs(),
        settings=StudySettings(
            control=ControlSettings(share=0.3), finalists=FinalistSettings(count=2, repeats=3)
        ),
    )
    (path / "config.yaml").write_text("job: search\ndata_dir: /data/my photos\n", encoding="utf-8")
    (path / "env.json").write_text('[{"processor": "<fast>"}]', encoding="utf-8")
    return path, result


def rising(candidate: dict[str, int], seed: int) -> Iterator[dict[str, float]]:
    """Three reports that grow with the candidate's depth."""
    for report in (1, 2, 3):
        yield {"score": 0.01 * report * candidate["depth"]}


@pytest.fixture(scope="session")
def halved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a search of 12 trials by one arm, some of which were stopped early."""
    path = tmp_path_factory.mktemp("runs") / "halved"
    space = ChoiceSpace({"depth": list(range(1, 40))})
    search(
        space,
        rising,
        "random",
        budget=12,
        run=path,
        objective="score",
        settings=StudySettings(
            control=ControlSettings(share=0.0), stopping=StoppingSettings(rungs=(1, 2), eta=3)
        ),
    )
    return path
