"""The one way in which the genome's rooms remember what they have computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Memo(dict[K, V], Generic[K, V]):
    """Remembers what a function makes of a key, and forgets everything at a limit.

    Forgetting changes no result, only the time until it is there.

    Example:
        >>> squares = Memo(lambda n: n * n, limit=1000)
        >>> squares[12]
        144
    """

    def __init__(self, make: Callable[[K], V], limit: int) -> None:
        super().__init__()
        self._make, self._limit = make, limit

    def __missing__(self, key: K) -> V:
        if len(self) >= self._limit:
            self.clear()
        value = self[key] = self._make(key)
        return value
