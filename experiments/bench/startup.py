"""Processor time of commands that refuse or read text, before and after a change.

    python experiments/bench/startup.py 3db94b8 --out FILE [--rounds 3]

The commit is checked out into a temporary folder. Each command runs once a round on either side, in
a process of its own; the table has the medians of the rounds.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from against_commit import HERE, SIDES, checked_out

COMMANDS = (
    "--version",
    "profile spinenet-49",
    "eval gone.safetensors",
    "eval spinenet-49",
    "predict gone.safetensors picture.png",
    "export spinenet-49 --format json --out exported",
    "export gone --format onnx",
    "train --genome gone --data list",
    "train --genome spinenet-49 --data list",
    "search --data list",
    "data check list",
    "top gone",
)


def cpu_seconds(root: Path, folder: Path, command: str) -> float:
    """Returns the processor time of a command, whatever it says."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(  # noqa: S603
        [sys.executable, "-m", "nas", *command.split()],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(root)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def table_of(seconds: dict[str, dict[str, list[float]]]) -> str:
    """Returns a line for each command, in seconds."""
    lines = ["| command | before | after |", "|---|---:|---:|"]
    for command, sides in seconds.items():
        cells = [f"{statistics.median(sides[side]):.1f} s" for side in SIDES]
        lines.append(f"| `nas {command}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measures, prints and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("commit", help="of the side before")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    seconds = {command: {side: list[float]() for side in SIDES} for command in COMMANDS}
    with tempfile.TemporaryDirectory(prefix="startup-") as name:
        folder = Path(name)
        (folder / "list" / "train").mkdir(parents=True)
        (folder / "list" / "train.json").write_text("[]")
        (folder / "picture.png").write_bytes(b"no picture")
        roots = dict(zip(SIDES, (checked_out(options.commit, folder), HERE), strict=True))
        for _ in range(options.rounds):
            for command in COMMANDS:
                for side, root in roots.items():
                    seconds[command][side].append(cpu_seconds(root, folder, command))
    text = table_of(seconds)
    options.out.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
