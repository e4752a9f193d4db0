"""The toolkit's controllers as a search algorithm of Ray Tune.

    >>> from nas.executors.tune import ControllerSearcher

Tune is imported only when this name is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.executors.tune.searcher import ControllerSearcher as ControllerSearcher

__all__ = ["ControllerSearcher"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from nas.executors.tune import searcher

    return getattr(searcher, name)
