"""Problems of a folder of images, listed on the screen."""

from __future__ import annotations

from collections.abc import Sequence

from nas.data.check import count
from nas.data.problems import Problem
from nas.ui.console import console

MOST_PROBLEMS = 50
"""Problems listed on the screen; the others are counted by kind."""


def list_problems(problems: Sequence[Problem]) -> None:
    """Prints the first problems, a line each, and how many more there are of which kind."""
    for problem in problems[:MOST_PROBLEMS]:
        console.print(str(problem))
    if len(problems) > MOST_PROBLEMS:
        rest = count(problems[MOST_PROBLEMS:])
        console.print(f"… and {len(problems) - MOST_PROBLEMS} more: {rest}")
