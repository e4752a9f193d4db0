"""Ray Tune in a process of its own: Ray keeps the settings that it finds when it is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

CASES = Path(__file__).with_name("tune_cases.py")


@pytest.mark.skipif(
    not (find_spec("pandas") and find_spec("pyarrow")), reason="Ray Tune needs the extra tune"
)
@pytest.mark.parametrize("kind", ["not slow", pytest.param("slow", marks=pytest.mark.slow)])
def test_cases(kind: str, tmp_path: Path) -> None:
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    words = [
        "-m",
        "pytest",
        str(CASES),
        "-m",
        kind,
        "-q",
        "-p",
        "no:xdist",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(
        [sys.executable, *words, f"--basetemp={tmp_path / 'cases'}"],
        cwd=CASES.parents[2],
        env=own,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_is_missing_is_said_in_one_line() -> None:
    program = (
        "import sys; sys.modules['pandas'] = None; "
        "from nas.executors.tune import ControllerSearcher"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    said = done.stderr.strip().splitlines()[-1]
    assert said.startswith("ImportError: Ray Tune can't be imported")
    assert "pandas" in said and "pip install 'spinenas[tune]'" in said
