"""Clauses that say which setting changed between the start of a run and now."""

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
_DATA = {  # fields that are digests of data
    "data": "the data",
    "evaluator.fit": "the data, or how the hold-out is drawn,",
    "evaluator.holdout": "the data, or how the hold-out is drawn,",
    "evaluator.folds": "the data, or how the hold-out is drawn,",
}
_PREFIXES = {"evaluator.settings.": "proxy."}
_DIGEST = re.compile(r"[0-9a-f]{16,}")


def differences(before: Any, now: Any, field: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yields each (field, before, now) in which two JSON values differ, by name.

    Args:
        before: A JSON value, such as settings by name.
        now: The other one.
        field: The name of the values themselves, which the fields within them begin with.
    """
    if isinstance(before, dict) and isinstance(now, dict):
        for name in sorted(before.keys() | now.keys()):
            inner = f"{field}.{name}" if field else name
            yield from differences(before.get(name, "absent"), now.get(name, "absent"), inner)
    elif before != now:
        yield field, before, now


def change(before: Any, now: Any, begun: str = "this run began") -> str | None:
    """Returns a clause on the first setting that changed; None if none did.

    The seed comes first, since it also draws which images are used; data come last, since their
    digest differs for every other reason too.

    Args:
        before: The settings when the run began, as JSON values.
        now: The settings as they are now.
        begun: The clause that says when they were the former ones.

    Example:
        >>> change({"seed": 0}, {"seed": 1})
        'the seed was 0 when this run began and is now 1'
    """
    changed = sorted(differences(before, now), key=lambda d: (d[0] in _DATA, d[0] != "seed"))
    return _clause(changed, f"changed since {begun}", f"was {{}} when {begun} and is now {{}}")


def contrast(there: Any, here: Any) -> str | None:
    """Returns a clause on the first setting that differs between two runs; None if none does.

    Args:
        there: The settings of the other run, as JSON values.
        here: The settings of this one.
    """
    changed = sorted(differences(there, here), key=lambda d: d[0] in _DATA)
    return _clause(changed, "is another there", "is {} there and {} here")


def _clause(changed: Sequence[tuple[str, Any, Any]], digests: str, values: str) -> str | None:
    """Returns a clause on the first difference; None if there is none.

    Args:
        changed: The differences, as `differences` yields them.
        digests: The end of a clause on two digests, which aren't shown.
        values: The end of a clause on two values, with a place for each.
    """
    if not changed:
        return None
    field, *pair = changed[0]
    if named(field) == "--init":  # a run from scratch has no such setting
        pair = ["none" if value == "absent" else value for value in pair]
    if all(isinstance(value, str) and _DIGEST.fullmatch(value) for value in pair):
        return f"{_DATA.get(field) or named(field)} {digests}"
    return f"{named(field)} {values.format(*map(short, pair))}"


def named(field: str) -> str:
    """Returns the name by which a user sets a field."""
    for prefix, setting in _PREFIXES.items():
        if field.startswith(prefix):
            return setting + field.removeprefix(prefix)
    return _NAMES.get(field, field)


def short(value: Any) -> str:
    """Returns a setting as a message shows it, in 60 characters at most."""
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
