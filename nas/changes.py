"""What changed between the start of a run and now, in words of its settings."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

_NAMES = {
    "seed": "the seed",
    "genome": "the architecture",
    "init": "--init",
    "evaluator.init": "--init",
}
_DATA = {  # where these hold digests
    "data": "the data",
    "evaluator.fit": "the data, or how the hold-out is drawn,",
    "evaluator.holdout": "the data, or how the hold-out is drawn,",
    "evaluator.folds": "the data, or how the hold-out is drawn,",
}
_PREFIXES = {"evaluator.settings.": "proxy."}
_DIGEST = re.compile(r"[0-9a-f]{16,}")


def differences(before: Any, now: Any, field: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yields each (field, before, now) in which two JSON values differ, by name."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in sorted(before.keys() | now.keys()):
            inner = f"{field}.{name}" if field else name
            yield from differences(before.get(name, "absent"), now.get(name, "absent"), inner)
    elif before != now:
        yield field, before, now


def change(before: Any, now: Any, begun: str = "this run began") -> str | None:
    """Returns a clause that names what changed; None if nothing did.

    A seed comes first, since it also draws which images are seen; data come last, since a digest
    of them differs for every other reason too.

    Args:
        before: settings as JSON values, when the run began.
        now: settings as they are.
        begun: what happened then.

    Example:
        >>> change({"seed": 0}, {"seed": 1})
        'the seed was 0 when this run began and is now 1'
    """
    changed = sorted(differences(before, now), key=lambda one: (one[0] in _DATA, one[0] != "seed"))
    return _clause(changed, f"changed since {begun}", f"was {{}} when {begun} and is now {{}}")


def contrast(there: Any, here: Any) -> str | None:
    """Returns a clause that names what differs between two runs; None if nothing does.

    Args:
        there: settings of the other run as JSON values.
        here: those of this one.
    """
    changed = sorted(differences(there, here), key=lambda one: one[0] in _DATA)
    return _clause(changed, "is another there", "is {} there and {} here")


def _clause(changed: Sequence[tuple[str, Any, Any]], digests: str, values: str) -> str | None:
    """A clause about the first difference: of digests, which say nothing to anyone, or values."""
    if not changed:
        return None
    field, *pair = changed[0]
    if named(field) == "--init":  # what starts from scratch says nothing of it
        pair = ["none" if value == "absent" else value for value in pair]
    if all(isinstance(value, str) and _DIGEST.fullmatch(value) for value in pair):
        return f"{_DATA.get(field) or named(field)} {digests}"
    return f"{named(field)} {values.format(*map(short, pair))}"


def named(field: str) -> str:
    """Returns the name by which a field can be set."""
    for prefix, setting in _PREFIXES.items():
        if field.startswith(prefix):
            return setting + field.removeprefix(prefix)
    return _NAMES.get(field, field)


def short(value: Any) -> str:
    """Returns a setting as a message shows it, in 60 characters at most."""
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
