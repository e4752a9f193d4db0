"""A tiny search and training that the tests of this folder share."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.cli.main import main
from nas.data.scenes import write_scenes

SMALL_SEARCH = [
    "--set=proxy.recipe.epochs=1",
    "--set=proxy.recipe.batch_size=8",
    "--set=proxy.scale.width=0.0625",
    "--set=proxy.scale.alpha=0.25",
    "--set=proxy.scale.head_width=8",
    "--set=proxy.scale.input_size=128",
    "--set=finalists.count=1",
    "--set=finalists.length=1",
    "--set=finalists.repeats=1",
    "--set=compute.executor=inline",
]
TINY_TRAINING = [
    "--set=recipe.epochs=2",
    "--set=recipe.batch_size=8",
    "--set=scale.width=0.0625",
    "--set=scale.head_width=8",
    "--set=scale.input_size=128",
]


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def data(home: Path) -> Path:
    write_scenes(home / "scenes", seed=1, images=30)
    return home / "scenes"


@pytest.fixture(scope="session")
def searched(home: Path, data: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setenv("SPINENAS_CACHE", str(home / "cache"))
        run = home / "search"
        assert (
            main(["search", "--data", str(data), "--run", str(run), "--budget=2", *SMALL_SEARCH])
            == 0
        )
    return run


@pytest.fixture(scope="session")
def trained(home: Path, data: Path, searched: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setenv("SPINENAS_CACHE", str(home / "cache"))
        run = home / "final"
        words = ["train", "--genome", str(searched), "--data", str(data), "--run", str(run)]
        assert main([*words, *TINY_TRAINING]) == 0
    return run


@pytest.fixture(scope="session")
def small() -> list[str]:
    """Options that make a search as small as it gets."""
    return SMALL_SEARCH
