"""Units become modules: `build` turns a genome into a trainable detector.

Both names are looked up when they are first used, since finding weights needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.models.detector import Detector as Detector
    from nas.models.detector import build as build

__all__ = ["Detector", "build"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'nas.models' has no attribute {name!r}")
    return getattr(import_module("nas.models.detector"), name)
