"""How genomes and spaces remember what they have computed: by arguments, or by a key.

Genomes of a search share most of their parts. Who makes a part is `@remembered`, so that equal
parts are one object, checked once, which keeps its signature and form. Where what is computed
depends on less than the arguments, a `Memo` is asked by a key of one's own.

Forgetting changes no result, only the time until it is there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Generic, ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")
K = TypeVar("K")
V = TypeVar("V")

REMEMBERED = 16_384
"""Results that are kept of one function, most of them of about a kilobyte.

A search meets the same blocks in thousands of genomes: about 3,000 different ones in SpineNet's
space, and 11,000 in 1,000 mobile detectors.
"""


def remembered(function: Callable[P, R]) -> Callable[P, R]:
    """Decorates a pure function of hashable arguments, which keeps its last `REMEMBERED` results.

    Example:
        >>> @remembered
        ... def square(n: int) -> list[int]:
        ...     return [n * n]
        >>> square(12) is square(12)
        True
    """
    return cast(Callable[P, R], lru_cache(maxsize=REMEMBERED)(function))


class Memo(dict[K, V], Generic[K, V]):
    """A dictionary that forgets everything when it has `limit` entries and gets another.

    Example:
        >>> squares: Memo[int, int] = Memo(limit=1000)
        >>> squares.keep(12, 144)
        144
        >>> squares.get(12)
        144
    """

    def __init__(self, limit: int = REMEMBERED) -> None:
        super().__init__()
        self._limit = limit

    def keep(self, key: K, value: V) -> V:
        """Keeps a value by a key and returns it."""
        if len(self) >= self._limit:
            self.clear()
        self[key] = value
        return value
