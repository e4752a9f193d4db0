"""Commands that refuse, or read text alone, load neither torch nor Ray."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from nas.data.scenes import write_scenes
from search_spaces import zoo

PROGRAM = """
import contextlib, io, json, sys
from nas.cli.main import main

for line in json.load(sys.stdin):
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            code = main(line.split())
        except SystemExit as end:
            code = end.code
    heavy = [name for name in ("torch", "torchvision", "ray") if name in sys.modules]
    print(json.dumps([line, code, heavy, output.getvalue()]))
"""

REFUSED = [
    "search --data nowhere",
    "search --data empty",
    "search --data list",
    "search --set spcae=1",
    "search typo.yaml",
    "search gone.yaml",
    "search --budget 3x",
    "search --controller randm",
    "search --warm-start nope",
    "search --warm-start empty",
    "train --genome nope --data list",
    "train --genome spinenet-49 --data nowhere",
    "train --genome half.json --data scenes",
    "train --genome spinenet-49 --data list",
    "train --genome spinenet-49 --set epocs=1 --data scenes",
    "train --genome spinenet-49 --set compute.workers=3 --data scenes",
    "resume nope",
    "resume empty",
    "top nope",
    "show nope",
    "report nope",
    "compare nope nope2",
    "compare empty empty",
    "eval nope",
    "eval nope.safetensors",
    "eval a.txt",
    "eval half.json",
    "eval empty",
    "eval spinenet-49",
    "eval noise.safetensors",
    "eval bare.safetensors",
    "eval model.safetensors --data nowhere",
    "eval model.safetensors --data list",
    "eval model.safetensors --data scenes",
    "predict nope a.txt",
    "predict noise.safetensors whole.png",
    "predict empty nope.png",
    "profile nope",
    "profile half.json",
    "export nope",
    "export spinenet-49 --format nope",
    "export spinenet-49 --format onnx",
    "export noise.safetensors",
    "data check nowhere",
    "data check list",
    "data show nowhere",
    "data split empty",
    "device measure gone.yaml",
    "device measure --genome nope",
    "device measure --pieces 3",
    "device add gone.json",
    "device add half.json",
]

READ = [
    "--version",
    "--help",
    "train --help",
    "profile spinenet-49",
    "show spinenet-49",
    "export spinenet-49 --format json --out exported",
    "data check scenes",
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of inputs that are wrong, and of some that are right."""
    home = tmp_path_factory.mktemp("home")
    write_scenes(home / "scenes", seed=2, images=12)
    (home / "empty").mkdir()
    (home / "list").mkdir()
    (home / "list" / "train.json").write_text("[]")
    (home / "a.txt").write_text("hello")
    (home / "typo.yaml").write_text("spcae: 1\n")
    (home / "half.json").write_text('{"version": 1, "blocks": [')
    (home / "noise.safetensors").write_bytes(bytes(range(256)) * 8)
    genome = json.loads(zoo.genome("spinenet-49s").to_json())
    other = [{"id": 7, "name": "no class of the scenes"}]
    headers: dict[str, Any] = {
        "bare": {"version": 1, "categories": []},
        "model": {"version": 1, "categories": other, "genome": genome, "record": {}},
    }
    for name, header in headers.items():
        weights = {"x": np.zeros(1, dtype=np.float32)}
        save_file(weights, home / f"{name}.safetensors", metadata={"nas": json.dumps(header)})
    (home / "whole.png").write_bytes(next((home / "scenes" / "val").iterdir()).read_bytes())
    return home


def _ran(lines: list[str], home: Path) -> list[tuple[str, int, list[str], str]]:
    """Runs commands one after the other in a fresh process; returns how each ended."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(lines),
        cwd=home,
        env={"HOME": str(home), "PATH": "", "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(("lines", "code"), [(REFUSED, 2), (READ, 0)], ids=["refused", "read"])
def test_no_torch_is_loaded(lines: list[str], code: int, home: Path) -> None:
    ends = _ran(lines, home)
    assert [line for line, *_ in ends] == lines
    wrong = [(line, output) for line, ended, _, output in ends if ended != code]
    assert wrong == []
    heavy = {line: modules for line, _, modules, _ in ends if modules}
    assert heavy == {}


def test_one_that_loads_torch_is_seen(home: Path) -> None:
    ((_, code, modules, _),) = _ran(["predict bare.safetensors whole.png"], home)
    assert (code, modules) == (2, [])
    ((_, code, modules, output),) = _ran(["predict model.safetensors whole.png"], home)
    assert code == 2 and "weights don't fit" in output
    assert modules == ["torch", "torchvision"]
