"""The documents keep their word: their programs run as written, their commands are accepted."""

from __future__ import annotations

import os
import re
import runpy
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import nas
from nas.config.loading import load_search
from nas.controllers import CONTROLLERS
from nas.data.scenes import write_scenes
from nas.errors import ConfigError, RunError
from tests.engine.toys import StaircaseSpace, total

ROOT = Path(nas.__file__).parents[1]


def blocks(document: str, language: str) -> list[str]:
    """Returns a document's fenced blocks of one language."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


DOCUMENTS = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
PROGRAMS = [
    pytest.param(program, id=f"{document}-{number}")
    for document in DOCUMENTS
    for number, program in enumerate(blocks(document, "python"), start=1)
]
CLUSTER = blocks("docs/cluster.md", "")


# Programs


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_prints_what_its_comments_promise(program: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(program, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    promised = re.findall(r"^print\(.*\) +# (.*)$", program, re.MULTILINE)
    printed = done.stdout.splitlines()
    assert promised and len(promised) == len(printed)
    for comment, line in zip(promised, printed, strict=True):
        assert comment == line or comment.startswith(f"{line}, ")


def test_programs_are_short() -> None:
    searches = [program for program in blocks("README.md", "python") if "nas.search(" in program]
    assert len(searches) == 1 and len(searches[0].splitlines()) <= 15
    (controller,) = blocks("docs/own_controller.md", "python")
    assert len(controller.splitlines()) < 60


# The controller of docs/own_controller.md


@pytest.fixture
def own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What the program defines."""
    (tmp_path / "mine.py").write_text(blocks("docs/own_controller.md", "python")[0])
    return runpy.run_path(str(tmp_path / "mine.py"))


def test_own_controller_goes_on_where_it_was_stopped(own: dict[str, Any], tmp_path: Path) -> None:
    space = StaircaseSpace(6, 6)  # what is legal depends on what was chosen before

    def trials(run: str, budget: int, controller: Any = own["Threshold"]) -> list[Any]:
        found = nas.search(space, total, controller, budget=budget, run=tmp_path / run)
        assert all(trial.failure is None for trial in found.trials)
        return [(trial.number, trial.source, trial.code) for trial in found.trials]

    whole = trials("whole", 40)
    assert trials("parts", 17) == whole[:17]
    assert trials("parts", 40) == whole
    settings = own["ThresholdSettings"](start=1.0)
    with pytest.raises(RunError, match=r"controller\.start was 3\.0"):
        trials("parts", 50, lambda space, seed: own["Threshold"](space, seed, settings))


def test_an_instance_of_a_controller_is_refused(own: dict[str, Any]) -> None:
    space = StaircaseSpace(3, 3)
    with pytest.raises(ConfigError, match="give the class itself"):
        nas.search(space, total, own["Threshold"](space, 0), budget=3)


@pytest.mark.usefixtures("own")
def test_a_config_names_a_controller_but_no_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "trap.yaml").write_text("controller: {name: 'mine:Threshold'}")
    (tmp_path / "named.yaml").write_text("controller: {name: threshold, options: {start: 1.0}}")
    space = StaircaseSpace(3, 3)
    trap, named = (load_search(str(tmp_path / f"{name}.yaml")) for name in ("trap", "named"))
    with pytest.raises(ConfigError, match="'mine:Threshold' is unknown"):
        nas.search(space, total, trap.controller, budget=3)
    assert "mine" not in sys.modules
    monkeypatch.setitem(CONTROLLERS, "threshold", "mine:Threshold")
    assert len(nas.search(space, total, named.controller, budget=3).trials) == 3
    monkeypatch.delitem(sys.modules, "mine")


# The cluster of docs/cluster.md


def commands() -> dict[str, Any]:
    """Returns the parsers of the commands that the page uses."""
    import typer
    from ray.scripts.scripts import cli as ray

    from nas.cli.main import app

    verbs: Any = typer.main.get_command(app)
    return {
        "ray get-auth-token": ray.commands["get-auth-token"],
        "ray start": ray.commands["start"],
        "nas search": verbs.commands["search"],
        "nas resume": verbs.commands["resume"],
        "nas train": verbs.commands["train"],
    }


def test_the_page_s_commands_are_accepted() -> None:
    # In a process of its own: Ray reads its security settings when it is imported.
    program = "from tests.house.test_documents import check_commands; check_commands()"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=120)


def check_commands() -> None:
    """Parses each command of the page, and finds every option that it names."""
    parsers, shell = commands(), "".join(CLUSTER).replace("\\\n", " ")
    typed = re.findall(r"\b((?:ray|nas) [a-z-]+)\b([^>;)\n]*)", shell)
    used = ["ray get-auth-token", "ray start", "ray start", "nas search", "nas train"]
    assert [command for command, _ in typed] == used
    for command, words in typed:
        parsers[command].make_context(command, words.split()).close()
    known = {
        option for parser in parsers.values() for part in parser.params for option in part.opts
    }
    page = (ROOT / "docs/cluster.md").read_text(encoding="utf-8")
    assert set(re.findall(r"--[a-z][a-z-]*", page)) <= known


@pytest.mark.slow
def test_the_page_s_cluster_searches_and_trains_on_both_machines(tmp_path: Path) -> None:
    """Two addresses of this machine stand for two machines."""
    with socket.create_server(("127.0.0.2", 0)) as server:
        address = f"127.0.0.2:{server.getsockname()[1]}"
    shell = [block.replace("10.0.0.1:6379", address) for block in CLUSTER]
    head = shell[1].replace("10.0.0.1", "127.0.0.2").replace("6379", address.split(":")[1])
    token, worker = shell[0].splitlines()[0], f"{shell[2].rstrip()} --node-ip-address=127.0.0.3"
    search = (
        "import nas, ray; from nas.executors import ComputeSettings\n"
        "space = nas.ChoiceSpace({'a': [0, 1, 2], 'b': [0, 1]})\n"
        "def evaluate(candidate, seed):\n"
        "    import time; time.sleep(1)\n"
        "    node = ray.util.get_node_ip_address()\n"
        "    return {'score': 0.5, 'node': float(node.rsplit('.')[-1])}\n"
        f"compute = ComputeSettings(workers=2, address={address!r})\n"
        "found = nas.search(space, evaluate, 'random', budget=6, compute=compute)\n"
        "print(sorted({trial.metrics['node'] for trial in found.trials}))"
    )
    bare = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    with tempfile.TemporaryDirectory(
        prefix="nas-", dir="/tmp"
    ) as folder:  # a socket's path is short
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = {**bare, "HOME": str(tmp_path), "PATH": path, "RAY_TMPDIR": folder}
        subprocess.run(["bash", "-c", token], env=environment, check=True, timeout=120)
        assert stat.S_IMODE((tmp_path / ".ray/auth_token").stat().st_mode) == 0o600
        with node(head, environment, tmp_path), node(worker, environment, tmp_path):
            environment["RAY_AUTH_MODE"] = "token"
            assert python(search, environment).stdout.splitlines()[-1] == "[2.0, 3.0]"
            refused = python(search, {**environment, "RAY_AUTH_TOKEN": "another"})
            assert "no Ray answers" in refused.stderr
            if find_spec("pandas") and find_spec("pyarrow"):  # Ray Train needs the extra train
                train_on(address, environment, tmp_path)


def train_on(address: str, environment: dict[str, str], folder: Path) -> None:
    """Two workers need both machines, of one processor each."""
    write_scenes(folder / "scenes", seed=1, images=30)
    given = [f"--data={folder / 'scenes'}", f"--run={folder / 'trained'}", "--genome=spinenet-49s"]
    small = {"scale.width": 0.0625, "scale.head_width": 8, "scale.input_size": 128}
    settings = {**small, "recipe.epochs": 1, "recipe.batch_size": 8}
    given += [f"--set={name}={value}" for name, value in settings.items()]
    done = subprocess.run(
        [sys.executable, "-m", "nas", "train", *given, "--workers=2", f"--address={address}"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "trained/model.safetensors").is_file()


@contextmanager
def node(shell: str, environment: dict[str, str], folder: Path) -> Iterator[None]:
    """Types a page's block that starts a part of the cluster, and ends that part in the end."""
    limits = "--num-cpus=1 --object-store-memory=100000000"
    typed = f"{shell.rstrip()} {limits}".replace("ray start", "exec ray start")
    log = folder / f"{len(list(folder.glob('*.log')))}.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            ["bash", "-c", typed], env=environment, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + 120
        while "Ray runtime started" not in log.read_text():
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.5)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def python(program: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
