"""Nothing is imported from the folder that somebody works in, whatever its files are called."""

from __future__ import annotations

import configparser
import os
import pkgutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from nas.data.scenes import write_scenes
from nas.import_path import Program, without_program

ROOT = Path(__file__).parents[2]
SETTINGS = {
    **{"proxy.recipe.epochs": 1, "proxy.recipe.batch_size": 8, "proxy.scale.width": 0.0625},
    **{"proxy.scale.alpha": 0.25, "proxy.scale.head_width": 8, "proxy.scale.input_size": 128},
    **{"finalists.count": 1, "finalists.length": 1, "finalists.repeats": 1, "proxy.images": 16},
}
RECORDER = """
import os, sys
names = set()
def note(event, details):
    if event == "import" and (name := details[0].partition(".")[0]) not in names:
        names.add(name)
        with open(os.path.join({folder!r}, str(os.getpid())), "a") as file:
            file.write(name + "\\n")
sys.addaudithook(note)
"""
"""A `sitecustomize.py` that writes down each name that a process asks for, installed or not."""


# The path itself


@pytest.mark.parametrize(
    ("path", "left"),
    [
        (["", "/lib"], ["/lib"]),  # python -c
        (["/here", "/lib"], ["/lib"]),  # python -m
        (["/bin", "/here", "/lib"], ["/bin", "/here", "/lib"]),  # `nas`, and PYTHONPATH=.
        (["/here", "/here", "/lib"], ["/here", "/lib"]),  # python -m, and PYTHONPATH=.
        ([], []),
    ],
)
def test_only_the_entry_that_python_puts_in_front_goes(path: list[str], left: list[str]) -> None:
    assert without_program(path, "/here") == left


# The command


@pytest.fixture(scope="module")
def nas(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command as an installer writes it, for the entry point that is declared."""
    declared = configparser.ConfigParser()
    declared.read(ROOT / "setup.cfg")
    entry = declared["options.entry_points"]["console_scripts"].split("=")[1].strip()
    module, function = entry.split(":")
    script = tmp_path_factory.mktemp("bin") / "nas"
    script.write_text(f"import sys\nfrom {module} import {function}\nsys.exit({function}())\n")
    return script


def searched(
    nas: Path, executor: str, folder: Path, data: str, run: Path, pythonpath: str = ""
) -> None:
    """Types a search with one trial in a folder."""
    words = ["search", "--data", data, "--run", str(run), "--budget=1"]
    words += [f"--set={name}={value}" for name, value in SETTINGS.items()]
    words += [f"--set=compute.executor={executor}", "--set=compute.workers=1"]
    typed(nas, words, folder, {"SPINENAS_CACHE": str(run.parent / "cache")}, pythonpath)


def trained(nas: Path, folder: Path, data: str, run: Path, pythonpath: str = "") -> None:
    """Types a training by two workers, of one step."""
    small = ["--set=scale.width=0.0625", "--set=scale.head_width=8", "--set=scale.input_size=128"]
    words = ["train", "--genome=spinenet-49s", "--data", data, "--run", str(run), "--workers=2"]
    words += [*small, "--set=recipe.epochs=1", "--set=recipe.batch_size=8"]
    typed(nas, words, folder, {"SPINENAS_CACHE": str(run.parent / "cache")}, pythonpath)


def typed(
    nas: Path, words: list[str], folder: Path, variables: dict[str, str], pythonpath: str
) -> None:
    words = [sys.executable, str(nas), *words]
    environment = {**os.environ, **variables, "PYTHONPATH": pythonpath}
    done = subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout + done.stderr


def write_traps(folder: Path, names: set[str], marks: Path) -> None:
    """Writes a program for each name, which leaves a mark when it is run."""
    marks.mkdir()
    for name in names:
        (folder / f"{name}.py").write_text(f"open({str(marks / name)!r}, 'w').close()\n")


def installed() -> set[str]:
    """Returns all that Python could import by one name, and what is loaded here."""
    names = {module.name for module in pkgutil.iter_modules()}
    names |= {name for name in sys.modules if "." not in name}
    return {name for name in names | sys.stdlib_module_names if name.isidentifier()}


def test_a_search_runs_no_file_of_its_folder(nas: Path, tmp_path: Path) -> None:
    data, marks = tmp_path / "data", tmp_path / "marks"
    write_scenes(data, seed=1, images=30)
    write_traps(data, installed(), marks)
    searched(nas, "inline", data, ".", tmp_path / "run")
    assert not sorted(path.name for path in marks.iterdir())


@pytest.mark.slow
def test_no_name_that_a_process_asks_for_runs_a_file_of_either_folder(
    nas: Path, tmp_path: Path
) -> None:
    """Ray's own processes are among them: each one's imports are written down first."""
    data, traps = tmp_path / "data", tmp_path / "traps"
    notes, recorder, clean = tmp_path / "notes", tmp_path / "recorder", tmp_path / "clean"
    for folder in (notes, recorder, clean, traps):
        folder.mkdir()
    write_scenes(data, seed=1, images=30)
    (recorder / "sitecustomize.py").write_text(RECORDER.format(folder=str(notes)))
    for executor in ("inline", "ray"):
        searched(nas, executor, clean, str(data), tmp_path / f"clean_{executor}", str(recorder))
    if find_spec("pandas") and find_spec("pyarrow"):  # Ray Train needs the extra train
        trained(nas, clean, str(data), tmp_path / "clean_train", str(recorder))
    noted = [set(path.read_text().split()) for path in notes.iterdir()]
    assert len(noted) > 4  # two drivers, a worker, and Ray's
    names = {name for names in noted for name in names if name.isidentifier()} | installed()
    assert {"torch", "ray", "msvcrt"} <= names
    for folder in (data, traps):
        write_traps(folder, names, tmp_path / f"marks_{folder.name}")
    for executor in ("inline", "ray"):
        searched(nas, executor, traps, str(data), tmp_path / f"run_{executor}")
        searched(nas, executor, data, ".", tmp_path / f"run_{executor}_in_data")
    if find_spec("pandas") and find_spec("pyarrow"):
        trained(nas, data, ".", tmp_path / "train")
    assert not sorted(path.name for path in tmp_path.glob("marks_*/*"))


# A program of the user's own


PROGRAM = """
import sys
import nas, mine

def evaluate(candidate, seed):
    import lazily
    return mine.score(candidate) + lazily.more

if __name__ == "__main__":
    evaluator = mine.evaluate if sys.argv[1:] else evaluate
    space = nas.ChoiceSpace({"a": [0, 1, 2]})
    found = nas.search(space, evaluator, "random", budget=3, executor="ray", workers=1)
    print([trial.failure for trial in found.trials], found.best.reward)
"""
MINE = """
def score(candidate):
    import colorsys, yaml  # Python's own and an installed one, imported in the worker first
    import unused_so_far
    from_own_folder = [m.__file__ for m in (colorsys, yaml) if "program" in m.__file__]
    return candidate["a"] - 100.0 * len(from_own_folder)

def evaluate(candidate, seed):
    return score(candidate)
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program with modules beside it; the marks of those that may not run lie in `marks`."""
    folder = tmp_path / "program"
    folder.mkdir()
    (folder / "program.py").write_text(PROGRAM)
    (folder / "mine.py").write_text(MINE)
    (folder / "lazily.py").write_text("more = 10\n")
    (folder / "unused_so_far.py").write_text("")
    return folder


@pytest.mark.parametrize("word", [[], ["module"]])
def test_modules_beside_a_program_work_on_ray_behind_installed_ones(
    program: Path, tmp_path: Path, word: list[str]
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    # In the driver Python itself puts the program's folder first, so the traps come later.
    trap = "import sys; open({!r}, 'a').write(str(sys.argv) + '\\n')\n"
    traps = {name: trap.format(str(tmp_path / "marks")) for name in ("colorsys", "yaml", "ray")}
    driver = program / "program.py"
    lines = [
        f"open({str(program / name)!r} + '.py', 'w').write({text!r})"
        for name, text in traps.items()
    ]
    text = driver.read_text().replace(
        "if __name__", "\n".join(["import ray, yaml, colorsys", *lines]) + "\nif __name__", 1
    )
    driver.write_text(text)
    done = subprocess.run(
        [sys.executable, str(driver), *word],
        cwd=elsewhere,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"[None, None, None] {2.0 if word else 12.0}"
    assert not (tmp_path / "marks").exists()


def test_a_program_names_what_it_imports_and_no_more(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("tensorflow", "msvcrt", "json"):
        (program / f"{name}.py").write_text("")
    (program / "lazily.py").write_text("import json, msvcrt, numpy\nmore = 1\n")
    monkeypatch.syspath_prepend(program)
    main = str(program / "program.py")
    monkeypatch.setattr(sys.modules["__main__"], "__file__", main, raising=False)
    running = Program.running()
    beside = {"mine", "lazily", "unused_so_far"}
    assert beside <= running.names
    assert not {"tensorflow", "msvcrt", "json", "numpy", "nas", "os"} & running.names
    assert running.find_spec("tensorflow") is None and running.find_spec("mine.inner") is None
    found = running.find_spec("mine")
    assert found is not None and found.origin == str(program / "mine.py")
