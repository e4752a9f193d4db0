"""Whatever standard output is, a command's lines are whole and its exit code is its own."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CLEAN = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "FORCE_COLOR")}
SIGNS = "– × ± … 0.123 größe"
JOB = """
import sys, types
from nas.cli.main import main
job = types.ModuleType("nas.jobs.top")
def top(run, count):
    {body}
job.top = top
sys.modules["nas.jobs.top"] = job
sys.exit(main(["top", "r"]))
"""
"""A light stand-in for a verb: the command line around it is the real one."""


def command(body: str) -> list[str]:
    return [sys.executable, "-c", JOB.format(body=body)]


def run(body: str, shell: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs it, behind `shell` such as `>&-`."""
    words = ["bash", "-c", f'"$@" {shell}', "bash", *command(body)]
    return subprocess.run(
        words, capture_output=True, text=True, env={**CLEAN, **environment}, timeout=60
    )


PRINTS = f"from nas.ui.console import console; console.print({SIGNS!a})"
LOTS = "[print(n, flush=True) for n in range(100_000)]"
FAILS = "from nas.errors import DataError; raise DataError('d: 3 problems')"


@pytest.mark.parametrize(
    ("environment", "shown"),
    [
        ({"PYTHONIOENCODING": "ascii"}, "- x +- ... 0.123 gr\\xf6\\xdfe\n"),
        ({"PYTHONIOENCODING": "latin-1:strict"}, "- × ± ... 0.123 größe\n"),
        (
            {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
            "- x +- ... 0.123 gr\\xf6\\xdfe\n",
        ),
        ({"PYTHONIOENCODING": "utf-8"}, SIGNS + "\n"),
    ],
)
def test_any_encoding(environment: dict[str, str], shown: str) -> None:
    words = ["bash", "-c", '"$@"', "bash", *command(PRINTS)]
    done = subprocess.run(words, capture_output=True, env={**CLEAN, **environment}, timeout=60)
    assert done.returncode == 0, done.stderr
    latin = "latin-1" in environment.get("PYTHONIOENCODING", "")
    assert done.stdout.decode("latin-1" if latin else "utf-8") == shown
    assert done.stderr == b""


def test_an_error_in_any_encoding() -> None:
    body = f"from nas.errors import DataError; raise DataError({'größe – weg'!a})"
    done = run(body, PYTHONIOENCODING="ascii:strict")
    assert (done.returncode, done.stderr) == (2, "nas: gr\\xf6\\xdfe - weg\n")


@pytest.mark.parametrize(
    ("body", "code", "lines"), [(LOTS, 0, []), (f"{LOTS}; {FAILS}", 2, ["nas: d: 3 problems"])]
)
def test_a_reader_that_goes_away(body: str, code: int, lines: list[str]) -> None:
    done = run(body, "| head -1; exit ${PIPESTATUS[0]}")
    assert (done.returncode, done.stdout) == (code, "0\n")
    assert done.stderr.splitlines() == lines


@pytest.mark.parametrize(
    ("shell", "code", "error"),
    [
        (">&-", 0, ""),
        ("2>&-", 0, ""),
        ("<&-", 0, ""),
        (">&- 2>&- <&-", 0, ""),
        ("> /dev/full", 2, "nas: standard output can't be written (No space left on device)\n"),
        ("2> /dev/full", 0, ""),
    ],
)
def test_streams_that_are_closed_or_full(shell: str, code: int, error: str) -> None:
    done = run(PRINTS, shell)
    assert (done.returncode, done.stderr) == (code, error)


def test_a_file_never_gets_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    body = f"f = open({str(tmp_path / 'store')!r}, 'w'); assert f.fileno() > 2, f.fileno()"
    assert run(body, ">&- <&-").returncode == 0


@pytest.mark.parametrize(
    ("columns", "more"),
    [
        ("0", {}),
        ("wide", {}),
        ("20", {"TERM": "dumb"}),
        ("40", {"FORCE_COLOR": "1"}),
        ("1000", {"CI": "true", "NO_COLOR": "1"}),
    ],
)
def test_a_pipe_gets_whole_lines(columns: str, more: dict[str, str]) -> None:
    line = " ".join(["word"] * 60)
    body = f"from nas.ui.console import console; console.print({line!r})"
    done = run(body, COLUMNS=columns, **more)
    assert (done.returncode, done.stdout) == (0, line + "\n")


# A terminal that goes away, and signals


def in_terminal(body: str) -> tuple[int, int]:
    """Runs it in a terminal of its own; returns its process and the terminal's other end."""
    process, terminal = pty.fork()
    if process == 0:
        for number in (signal.SIGINT, signal.SIGHUP):  # whoever runs the tests may ignore them
            signal.signal(number, signal.SIG_DFL)
        os.execve(sys.executable, command(body), CLEAN)
    return process, terminal


def read_until(terminal: int, word: bytes) -> bytes:
    text = b""
    while word not in text:
        text += os.read(terminal, 4096)
    return text


def rest(terminal: int) -> str:
    text = b""
    try:
        while chunk := os.read(terminal, 4096):
            text += chunk
    except OSError:  # how a terminal tells its end
        pass
    return text.decode()


WAITS = "import time; print('waits', flush=True); [time.sleep(0.05) for _ in range(600)]"


def test_ctrl_c_in_a_terminal_is_one_line() -> None:
    process, terminal = in_terminal(WAITS)
    read_until(terminal, b"waits")
    os.write(terminal, b"\x03")
    assert rest(terminal).splitlines()[-1].removeprefix("^C") == "nas: stopped"
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 130


def test_a_terminal_that_is_closed_stops_the_job_in_order(tmp_path: Path) -> None:
    mark = tmp_path / "in order"
    body = f"""
    import time, pathlib
    try:
        print('waits', flush=True)
        time.sleep(30)
    except KeyboardInterrupt:
        pathlib.Path({str(mark)!r}).touch()
        print('stopped in order', flush=True)
        raise
    """
    process, terminal = in_terminal(body)
    read_until(terminal, b"waits")
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 129
    assert mark.exists()


def test_a_second_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    body = """
    import time
    from nas.temporary import temporary_folder
    with temporary_folder('test-') as folder:
        try:
            print('waits', flush=True)
            time.sleep(30)
        finally:
            print('winding up', flush=True)
            time.sleep(30)
    """
    environment = {**CLEAN, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        command(body),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout and process.stderr
        assert process.stdout.readline() == "waits\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "winding up\n"
        process.send_signal(signal.SIGINT)  # passed on by a parent: the same Ctrl-C
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)  # no second Ctrl-C
        time.sleep(0.1)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert process.stderr.read() == "nas: stopped at once\n"
    assert list(tmp_path.iterdir()) == []


def test_what_nohup_ignores_stays_ignored() -> None:
    body = "import os, signal; os.kill(os.getpid(), signal.SIGHUP); print('on')"
    words = ["bash", "-c", 'trap "" HUP; "$@"', "bash", *command(body)]
    done = subprocess.run(words, capture_output=True, text=True, env=CLEAN, timeout=60)
    assert (done.returncode, done.stdout) == (0, "on\n")
