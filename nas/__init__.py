"""Neural architecture search for object detectors.

The promised names are looked up when they are first used, so that `import nas` loads no torch:

    >>> import nas
    >>> from search_spaces import zoo
    >>> model = nas.build(zoo.genome("spinenet-49"), num_classes=32)

No module in this package may have the name of one of these: importing it would put the module in
the place of the verb.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.cost import profile as profile
    from nas.errors import GenomeError as GenomeError
    from nas.genome import Genome as Genome
    from nas.genome import plan as plan
    from nas.jobs.compare import compare as compare
    from nas.jobs.evaluate import evaluate as evaluate
    from nas.jobs.export import export as export
    from nas.jobs.load import load as load
    from nas.jobs.predict import predict as predict
    from nas.jobs.train import train as train
    from nas.models import build as build
    from nas.searching import search as search
    from nas.space import ChoiceSpace as ChoiceSpace

_HOMES = {
    "ChoiceSpace": "nas.space",
    "Genome": "nas.genome",
    "GenomeError": "nas.errors",
    "build": "nas.models",
    "compare": "nas.jobs.compare",
    "evaluate": "nas.jobs.evaluate",
    "export": "nas.jobs.export",
    "load": "nas.jobs.load",
    "plan": "nas.genome",
    "predict": "nas.jobs.predict",
    "profile": "nas.cost",
    "search": "nas.searching",
    "train": "nas.jobs.train",
}
"""Each promised name and the module that holds it."""

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'nas' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
