"""Messages on invalid input: pydantic's first problem, and the nearest name that exists."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, NamedTuple

from pydantic import ValidationError


class InvalidValue(NamedTuple):
    """The first value that pydantic refused.

    Attributes:
        steps: The names and indices that lead to it; none for the whole.
        kind: Pydantic's name of the problem, such as `missing`.
        message: Pydantic's sentence on it.
        value: The value itself.
    """

    steps: tuple[str | int, ...]
    kind: str
    message: str
    value: Any

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"

    @property
    def where(self) -> str:
        """The steps with dots between them, such as `recipe.epochs`."""
        return ".".join(map(str, self.steps))


def first_problem(error: ValidationError) -> InvalidValue:
    """Returns the first of pydantic's problems; as text it is `field: what is wrong`."""
    first = error.errors(include_url=False, include_context=False)[0]
    return InvalidValue(first["loc"], first["type"], first["msg"], first["input"])


def nearest(name: str, names: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Returns the name that a mistyped one is most like; None if it is like none.

    Args:
        name: As it was typed.
        names: Those that exist.
        cutoff: How alike they must be, from 0 to 1, where 1 is the same.
    """
    near = difflib.get_close_matches(name, list(names), n=1, cutoff=cutoff)
    return near[0] if near else None


def hint(name: str, names: Iterable[str]) -> str:
    """Returns the end of a message on an unknown name: the nearest name, or all of them.

    Args:
        name: As it was typed.
        names: Those that exist.
    """
    names = list(names)
    near = nearest(name, names)
    if near is not None:
        return f"; did you mean {near!r}?"
    return f"; known: {', '.join(names)}" if names else ""
