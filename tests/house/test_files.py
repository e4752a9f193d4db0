"""Files in one step, locks between processes, limits of size, and names that are nearly known."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from nas.files import lock, read_limited, replacing, write_text
from nas.validation import first_problem, hint, nearest


@pytest.mark.parametrize("shared", [False, True])
def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, shared: bool) -> None:
    path = tmp_path / "x.json"
    write_text(path, "é", shared=shared)
    assert path.read_bytes() == b"\xc3\xa9"

    def fails() -> None:
        with replacing(path, shared=shared) as new:
            new.write_text("half")
            assert path.read_bytes() == b"\xc3\xa9"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fails()
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"] and path.read_bytes() == b"\xc3\xa9"


def test_two_writers_of_a_shared_file_do_not_meet(tmp_path: Path) -> None:
    with replacing(tmp_path / "x", shared=True) as one, replacing(tmp_path / "x", shared=True) as b:
        assert one != b and one.suffix == b.suffix == ".part"
        one.write_text("one")
        b.write_text("two")
    assert (tmp_path / "x").read_text() == "one"  # the last to end


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    code = f"""
import time; from pathlib import Path; from nas.files import lock
held = lock(Path({str(path)!r})); print("held", flush=True); time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        with pytest.raises(TimeoutError, match=r"x\.lock"):
            lock(path)
        other.send_signal(signal.SIGKILL)
    held = lock(path, wait=5)
    with pytest.raises(TimeoutError):
        lock(path, wait=0.2)
    held.release()
    lock(path).release()


def test_a_lock_in_no_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        lock(tmp_path / "file" / "x.lock")


def test_what_is_read_has_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes(2_000_000))
    assert read_limited(path, 2_000_000) == bytes(2_000_000)
    with pytest.raises(ValueError, match="larger than 1 MB"):
        read_limited(path, 1_000_000)


def test_names_that_are_nearly_known() -> None:
    assert nearest("evolutoin", ["ppo", "evolution"]) == "evolution"
    assert nearest("x", ["ppo", "evolution"]) is None
    assert hint("pp", ["ppo", "random"]) == "; did you mean 'ppo'?"
    assert hint("x", ["ppo", "random"]) == "; known: ppo, random"
    assert hint("x", []) == ""


def test_the_first_problem_is_told() -> None:
    class Inner(BaseModel):
        size: int

    class Outer(BaseModel):
        rows: list[Inner]

    with pytest.raises(ValidationError) as caught:
        Outer.model_validate({"rows": [{"size": 1}, {"size": "big"}]})
    problem = first_problem(caught.value)
    assert problem.steps == ("rows", 1, "size") and problem.value == "big"
    assert str(problem).startswith("rows.1.size: Input should be a valid integer")
