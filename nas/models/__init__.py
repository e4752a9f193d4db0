"""Units become modules: `build` turns a genome into a trainable detector."""

from nas.models.detector import Detector, build

__all__ = ["Detector", "build"]
