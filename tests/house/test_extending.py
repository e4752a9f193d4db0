"""What `docs/extending.md` builds, run from a package that lies outside of this one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import nas
from nas.data.scenes import write_scenes
from tests.house.installed import install

PAGE = (Path(nas.__file__).parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")
WHOLE_WAY = """
import random

import torch
from my_nas.chain import ChainSpace

import nas
from nas.cost import latency_ms
from nas.cost.latency.table import DeviceTable
from nas.cost.latency.features import extent, family
from nas.data.coco import Category
from nas.formats import export
from nas.genome.plan import plan
from nas.genome.tape import Tape
from nas.genome.units import record_plan
from nas.models.pretrained.loading import start_from
from nas.report.drawing.draw import svg
from pathlib import Path

genome = ChainSpace().decode((2, 1, 2, 0))
genome.validate()
assert nas.Genome.from_json(genome.to_json()) == genome

# Counted: a model's own parameters; 1x1, 3x3 and 1x1 of 8 channels at 16, 8 and 4 px.
model = nas.build(genome, num_classes=3)
counts = nas.profile(genome, num_classes=3)
assert counts.params == sum(weights.numel() for weights in model.parameters())
rows = {row.name: row for row in counts.table}
assert rows["b0"].macs == 8 * 8 * 32**2 + 8 * 9 * 16**2 + 8 * 8 * 16**2, rows["b0"]

picture = svg(genome)
assert "shuffle" in picture and "#fde68a" in picture

# Trained for two steps.
torch.manual_seed(0)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
target = {"boxes": torch.tensor([[5.0, 5, 40, 40]]), "labels": torch.tensor([1])}
before = [weights.detach().clone() for weights in model.parameters()]
for _ in range(2):
    optimizer.zero_grad()
    sum(model([torch.rand(3, 64, 64)], [target]).values()).backward()
    optimizer.step()
moved = [not torch.equal(a, b) for a, b in zip(before, model.parameters())]
assert sum(moved) > len(moved) // 2
assert model.is_dynamic

# Timed: every operator takes a hundredth of a millisecond, a shuffle one millisecond more.
tape = Tape()
record_plan(tape, plan(genome), 3)
assert [step.operator.kind for step in tape.steps].count("channel_shuffle") == 3
families = {}
for operator in tape.operators:
    calls = 1.01 if operator.kind == "channel_shuffle" else 0.01
    largest = max(extent(operator), families.get(family(operator), {"largest": 1})["largest"])
    families[family(operator)] = {"ms": {"calls": calls}, "largest": largest}
table = DeviceTable.model_validate({
    "version": 2, "device": "a", "runtime": "b", "threads": 1, "precision": "c",
    "overhead_ms": 0.0, "channel_block": 16, "near_bytes": 2**20, "families": families,
    "protocol": {"rounds": 1, "warm_up": 0, "disturbed": 0, "load_before": None},
    "accuracy": {"pieces": 0, "networks": 0, "piece_error": None, "network_error": None},
    "measured": [{"name": "x", "whole": False, "ms": 1, "p95_ms": 1,
                  "operators": {"add 8@8 > 8@8": 1}}],
})
table.cover([genome], 3)
time = latency_ms(genome, table, 3)
assert abs(time - (3 + 0.01 * len(tape.operators))) < 1e-6, (time, len(tape.operators))

# Exported, which runs the file and holds it against PyTorch.
categories = [Category(7, "one"), Category(9, "two")]
written = export(model.eval(), categories, Path("model"), ["onnx", "csv", "json"])
assert [path.stat().st_size > 100 for path in written] == [True] * 3
assert Path("model.csv").read_text().startswith("part,params,macs")

# A classifier's weights: stem and blocks by number, their layers by their order.
names = [unit.name for unit in plan(genome) if unit.kind == "block"]
layers = {}
for number, block in enumerate(names):
    stateful = [m for m in model.body[block].modules() if m._parameters]
    for at, layer in enumerate(stateful):
        for name, tensor in layer.state_dict().items():
            layers[f"chain.{number}.{at}.{name}"] = torch.rand(tensor.shape)
torch.save(layers, "chain.pth")
loaded = start_from(model, Path("chain.pth"))
assert str(loaded).startswith(f"{loaded.loaded} tensors taken from a chain of my trainer"), loaded
assert loaded.loaded == sum(not name.endswith("tracked") for name in layers), loaded
assert loaded.note == "all behind block 'b2'", loaded
filled = model.body[names[-1]].state_dict()
assert all(any(torch.equal(tensor, other) for other in layers.values())
           for name, tensor in filled.items() if not name.endswith("tracked"))
print("done")
"""


def code() -> dict[str, str]:
    """The page's files, by name."""
    blocks = re.findall(r"^```py\n# my_nas/(\w+)\.py\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return dict(blocks)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of the page, as an installer leaves it."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (declared,) = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    groups = tomllib.loads(declared)["project"]["entry-points"]
    lines = [
        line
        for group, entries in groups.items()
        for line in (f"[{group}]", *(f"{name} = {place}" for name, place in entries.items()))
    ]
    install(folder, "my_nas", code(), "\n".join(lines) + "\n")
    return folder


def run(package: Path, folder: Path, *words: str) -> str:
    """Runs Python with the package on its path, and returns what it prints."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(package),
        "SPINENAS_CACHE": str(folder / "cache"),
        "COLUMNS": "200",
    }
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_each_is_short() -> None:
    files = code()
    assert len(files) == 17
    assert {name: text.count("\n") for name, text in files.items() if text.count("\n") >= 60} == {}


def test_a_genome_of_theirs_goes_the_whole_way(package: Path, tmp_path: Path) -> None:
    (tmp_path / "whole_way.py").write_text(WHOLE_WAY, encoding="utf-8")
    assert run(package, tmp_path, "whole_way.py").endswith("done\n")


def searched(package: Path, folder: Path, *options: str) -> None:
    write_scenes(folder / "data", seed=1, images=30)
    (command,) = re.findall(r"^nas search (.*?)^nas export", PAGE, re.DOTALL | re.MULTILINE)
    words = command.replace("DIR", "data").split()
    small = ["--set=finalists.count=1", "--set=finalists.length=1", "--set=finalists.repeats=1"]
    run(package, folder, "-m", "nas", "search", *words, *small, *options)
    config = (folder / "runs" / "mine" / "config.yaml").read_text()
    for name in ("chain", "gradients", "climb", "median"):
        assert f"name: {name}\n" in config
    assert (folder / "runs" / "mine" / "noise.txt").read_text() == "uniform\n"
    run(package, folder, "-m", "nas", "export", "runs/mine", "--format", "json,csv")
    assert (folder / "runs" / "mine" / "model.csv").read_text().startswith("part,params,macs")


def test_a_search_with_all_of_theirs(package: Path, tmp_path: Path) -> None:
    searched(package, tmp_path, "--set=compute.executor=inline")


@pytest.mark.slow
def test_a_search_with_all_of_theirs_on_workers(package: Path, tmp_path: Path) -> None:
    searched(package, tmp_path, "--set=compute.executor=ray", "--workers=2")
    run(package, tmp_path, "-m", "nas", "resume", "runs/mine")
    assert "gradient" in run(package, tmp_path, "-m", "nas", "top", "runs/mine")
    assert "csv" in run(package, tmp_path, "-m", "nas", "export", "--help")
    sets = ["space.name=chain", "proxy.name=gradients", "objective.maximize=gradient"]
    sets += ["stopping.name=median", "stopping.rungs=[1]"]
    words = ["--data=data", "--dry-run", *(f"--set={one}" for one in sets)]
    plan = run(package, tmp_path, "-m", "nas", "search", *words)
    assert "3 batches of noise" in plan and "the better half goes on" in plan, plan


@pytest.mark.slow
def test_their_space_controller_and_head_pass_the_suites(package: Path, tmp_path: Path) -> None:
    words = ["-q", "-p", "no:cacheprovider", "--pyargs", "my_nas.test_chain", "my_nas.test_climb"]
    words.append("my_nas.test_points")
    assert "passed" in run(package, tmp_path, "-m", "pytest", *words)
