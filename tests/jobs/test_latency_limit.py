"""Latency by a table in the command: the plan, what is refused, a search that keeps to it."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from nas.cli.main import main
from nas.cost import families
from nas.data.scenes import write_scenes
from nas.genome.plan import lower
from nas.genome.tape import Tape
from nas.genome.units import record_plan
from nas.study.store import Store, find
from search_spaces import zoo
from search_spaces.spinenet.space import SpineNetSpace

SMALL_SPACE = ["--set=space.intermediates=1", "--set=space.deploy.input_size=128"]
SMALL_SEARCH = [
    *SMALL_SPACE,
    *("--set=proxy.recipe.epochs=1", "--set=proxy.recipe.batch_size=8", "--set=proxy.images=16"),
    *("--set=proxy.scale.width=0.0625", "--set=proxy.scale.head_width=8"),
    *("--set=finalists.count=1", "--set=finalists.length=1", "--set=finalists.repeats=1"),
    "--set=compute.executor=inline",
]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "scenes"
    write_scenes(root, seed=2, images=24)
    return root


@pytest.fixture(scope="module")
def names(scenes: Path) -> list[str]:
    """All families of operators of the small space, and of a network of the zoo."""
    classes = 1 + len(json.loads((scenes / "train.json").read_text())["categories"])
    space, rng = SpineNetSpace(intermediates=1, deploy={"input_size": 128}), random.Random(1)
    drawn = [*(space.sample(rng) for _ in range(600)), zoo.genome("spinenet-49")]
    return sorted({name for genome in drawn for name in families(genome, classes)})


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str]) -> Path:
    """A folder with a table, pixel.json, in which each operator takes a millisecond."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPINENAS_CACHE", str(tmp_path / "cache"))
    write("pixel.json", dict.fromkeys(names, 1.0))
    return tmp_path


def write(name: str, calls: dict[str, float]) -> None:
    conditions = {"device": "Pixel 4", "runtime": "made up", "threads": 1, "precision": "float32"}
    weights = {family: {"ms": {"calls": ms}} for family, ms in calls.items()}
    table = {"version": 2, **conditions, "overhead_ms": 0.5, "families": weights}
    Path(name).write_text(json.dumps(table))


def times(path: Path) -> dict[str, float]:
    weights = json.loads(path.read_text())["families"]
    return {family: weight["ms"]["calls"] for family, weight in weights.items()}


def test_the_dry_run_says_what_a_limit_leaves(
    here: Path, scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["search", "--data", str(scenes), "--dry-run", *SMALL_SPACE]
    named = "--set=costs.latency_table=pixel.json"
    assert main([*words, named, "--limit", "latency_ms=5"]) == 2
    shown = capsys.readouterr()
    assert "latency_ms" in shown.out and "0 % (0.0" in shown.out
    assert "at most 5 ms is out of reach" in shown.err
    assert main([*words, named, "--limit", "latency_ms=500"]) == 0
    assert "100 % (" in capsys.readouterr().out


def test_the_command_refuses_before_anything_is_written(
    here: Path, scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["search", "--data", str(scenes), "--run", "r", *SMALL_SPACE]
    known = times(Path("pixel.json"))
    write("lacking.json", {name: ms for name, ms in known.items() if name != "add"})
    refused = {
        "--limit=latency_ms=30": "costs.latency_table=FILE",
        "--set=costs.latency_table=gone.json": f"{here}/gone.json: no latency table",
        "--set=costs.latency_table=lacking.json": "has no times for 'add'",
        "--set=costs.latency_tabel=pixel.json": "did you mean 'latency_table'",
        "--limit=latency_ms=5 --set=costs.latency_table=pixel.json": "at most 5 ms is out of reach",
        "--target=latency_ms=5000 --set=costs.latency_table=pixel.json": "5000 ms is out of reach",
        "--target=latency_ms=30": "objective.shape.cost names 'latency_ms'",
        "--target=30": "write it as --target key=value",
    }
    for options, named in refused.items():
        assert main([*words, *options.split()]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and named in said, said
    assert not Path("r").exists()


def test_a_search_keeps_to_its_table(
    here: Path, scenes: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["search", "--data", str(scenes), "--run", "r", "--budget=2", *SMALL_SEARCH]
    options = ["--set=costs.latency_table=pixel.json", "--limit=latency_ms=500"]
    assert main([*words, *options]) == 0
    with Store.open_readonly(find(Path("r"))) as store:
        rows = store.records()
    assert rows and all(
        row.costs["latency_ms"] == int(row.costs["latency_ms"]) + 0.5 for row in rows
    )
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert main(["resume", "../r"]) == 0
    known = times(Path("../pixel.json"))
    capsys.readouterr()
    write("../pixel.json", known | {"add": 8.0})
    assert main(["resume", "../r"]) == 2
    message = capsys.readouterr().err
    assert (
        "families.add.ms.calls of the latency table was 1.0 when this run began and is now 8.0"
        in message
    )
    write("../pixel.json", known)
    assert main(["resume", "../r"]) == 0


def test_profile_shows_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "spinenet-49", "--latency", "pixel.json"]) == 0
    tape = Tape()
    record_plan(tape, lower(zoo.genome("spinenet-49")), 91)
    count = len(tape.operators)
    assert f"{count + 0.5:.2f} ms by the table of Pixel 4" in capsys.readouterr().out
