"""`metrics.jsonl`: what a training came to so far, a JSON object a line, by step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.files import write_text


class MetricsFile:
    """Rows of a training, each with the `step` after which it was written.

    A training that was stopped goes on from its last checkpoint, and may make steps again that
    have a row already: such rows are dropped, so that every step stands in the file once.

    Args:
        path: The file; rows of an earlier start stay in it, but for a line cut short.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        rows = [row for line in _lines(path) if (row := _row(line))]
        self._before: list[dict[str, Any]] | None = rows  # until the first row of this start

    def add(self, row: Mapping[str, Any]) -> None:
        """Appends a row, and drops an earlier start's rows of its own step and of later ones.

        Args:
            row: JSON values; `step` counts the updates made.
        """
        if self._before is not None:
            kept = [json.dumps(old) + "\n" for old in self._before if old["step"] < row["step"]]
            write_text(self.path, "".join(kept))
            self._before = None
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []


def _row(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("step"), int) else None
