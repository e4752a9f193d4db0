"""The wheel is what people install: built, installed beside nothing else, and used far away."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest

from nas.data.scenes import write_scenes

ROOT = Path(__file__).parents[2]
ROOMS = ("nas", "proxies", "search_spaces")
SOURCES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "NOTICE", *ROOMS)
SMALL = ("scale.width=0.0625", "scale.alpha=0.25", "scale.head_width=8", "scale.input_size=128")
SHORT = ("recipe.epochs=1", "recipe.batch_size=8")
FEW = ("recipe.batch_size=8", "recipe.warmup_steps=100")
CONFIGS = """
import sys
from pathlib import Path
import nas, proxies, search_spaces
from nas.config.schema import EXPERIMENTS, load_search, load_train
for module in (nas, proxies, search_spaces):
    assert Path(module.__file__).is_relative_to(sys.prefix), module
names = sorted(path.stem for path in EXPERIMENTS.glob("*.yaml"))
for name in names:
    kind = "train" if "job: train" in (EXPERIMENTS / f"{name}.yaml").read_text() else "search"
    (load_train if kind == "train" else load_search)(name)
print(*names)
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (find_spec("pip") and find_spec("setuptools")),
        reason="a wheel needs pip and setuptools",
    ),
]

Type = Callable[..., str]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: setuptools leaves its notes beside the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    options = ["--no-deps", "--no-build-isolation", "--no-index"]
    pip(["wheel", *options, "--wheel-dir", folder, source])
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def type_(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Type:
    """Types a command of a new environment, in a folder, and returns what it prints.

    The environment has the wheel, and sees the installed dependencies; `.pth` files beside those,
    such as that of a checkout, aren't read there.
    """
    prefix = tmp_path_factory.mktemp("env")
    venv.create(prefix, symlinks=True)
    bin_folder = prefix / "bin"
    # Before the dependencies can be seen: another spinenas may be among them.
    pip(["--python", bin_folder / "python", "install", "--no-deps", "--no-index", wheel])
    (site,) = prefix.glob("lib/python*/site-packages")
    places = [entry for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")]
    (site / "dependencies.pth").write_text("\n".join(places))
    hidden = ("PYTHONPATH", "PYTHONHOME", "PYTHONSAFEPATH")
    bare = {name: value for name, value in os.environ.items() if name not in hidden}

    def run(words: Sequence[str], folder: Path, codes: Sequence[int] = (0,)) -> str:
        done = subprocess.run(
            [bin_folder / words[0], *words[1:]],
            cwd=folder,
            env=bare | {"SPINENAS_CACHE": str(prefix / "cache")},
            capture_output=True,
            text=True,
            timeout=3600,
        )
        assert done.returncode in codes, done.stdout + done.stderr
        return done.stdout

    return run


def pip(words: Sequence[str | Path]) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *words]
    subprocess.run(command, check=True, capture_output=True, timeout=300)


def test_what_is_in_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (entries,) = (name for name in names if name.endswith("entry_points.txt"))
        told = archive.read(entries).decode()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {*ROOMS}
    assert {f"{room}/py.typed" for room in ROOMS} <= {*names}
    assert {f"nas/experiments/{path.name}" for path in (ROOT / "nas/experiments").iterdir()} == {
        name for name in names if name.startswith("nas/experiments/")
    }
    assert "nas/report/page.html.j2" in names
    modules = {str(p.relative_to(ROOT)) for room in ROOMS for p in (ROOT / room).rglob("*.py")}
    assert modules == {name for name in names if name.endswith(".py")}
    licences = {Path(name).name for name in names if "/licenses/" in name}
    assert licences == {"LICENSE", "NOTICE"}
    assert told.split() == ["[console_scripts]", "nas", "=", "nas.__main__:command"]


def test_what_is_quick(type_: Type, tmp_path: Path) -> None:
    assert "nas data check DIR" in type_(["nas", "--help"], tmp_path)
    assert re.fullmatch(r"spinenas \d[\d.]+\n", type_(["nas", "--version"], tmp_path))
    assert "28,543,383" in type_(["nas", "profile", "spinenet-49"], tmp_path)
    told = type_(["nas", "doctor"], tmp_path, codes=(0, 1))  # the machine may be small
    assert re.search(r"libraries: spinenas \d", told) and "one worker's start takes" in told


def test_every_named_config_is_found(type_: Type, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(CONFIGS)
    told = type_(["python", "program.py"], tmp_path).split()
    assert told == sorted(path.stem for path in (ROOT / "nas/experiments").glob("*.yaml"))


def test_the_readme_s_programs(type_: Type, tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    programs = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert programs
    for number, program in enumerate(programs):
        (tmp_path / f"program{number}.py").write_text(program)
        assert type_(["python", f"program{number}.py"], tmp_path)


def test_the_readme_s_commands(type_: Type, tmp_path: Path) -> None:
    """Those of one's own images, in its order, by named configs."""
    write_scenes(tmp_path / "DIR", seed=1, images=40)
    settings = [f"--set={option}" for option in (*SMALL, *SHORT)]
    published = [f"--set={option}" for option in (*SMALL, *FEW)]
    trial = [f"--set=proxy.{option}" for option in (*SMALL, *SHORT)]
    second = [f"--set=finalists.{name}=1" for name in ("count", "length", "repeats")]
    search = ["search", "spinenet_fod", "--data=DIR", "--run=runs/mine", "--budget=2"]
    for words in (
        ["data", "check", "DIR"],
        [*search, "--workers=2", *trial, *second],
        ["top", "runs/mine"],
        ["report", "runs/mine"],
        ["train", "spinenet49", "--data=DIR", "--dry-run", *published],
        ["train", "--genome=runs/mine", "--data=DIR", "--run=runs/final", *settings],
        ["eval", "runs/final", "--data=DIR"],
        ["export", "runs/final", "--format=json,onnx"],
        ["show", "runs/mine", "spinenet-49"],
    ):
        type_(["nas", *words], tmp_path)
    assert list(tmp_path.glob("runs/final/**/*.onnx"))


def test_the_demo(type_: Type, tmp_path: Path) -> None:
    told = type_(["nas", "demo"], tmp_path)
    (folder,) = tmp_path.glob("runs/demo*")
    assert f"everything is in runs/{folder.name}" in told
    assert list(folder.glob("export/*.onnx"))
