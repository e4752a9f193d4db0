"""`nas top`: a search's leaderboard, also while it runs."""

from __future__ import annotations

from pathlib import Path

from nas.report import leaderboard
from nas.ui.console import console


def top(run: Path, *, count: int = 10) -> None:
    """Prints a search's leaderboard, also while it runs."""
    console.print(leaderboard.top(run, count))
