"""How a config that isn't legal is refused: one line with the setting, and the remedy."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from nas.tables import Section
from nas.validation import hint, nearest

_ELSEWHERE = {
    ("search", "compute.threads"): "; a trial's are proxy.threads",
    ("train", "compute.threads"): "; a training's are recipe.threads",
    ("train", "compute.trial_timeout"): "; a training has no trials",
    ("train", "compute.max_failures"): "; a training has no trials",
}
"""Remedies for a setting that the other job, or another section, has."""


def explain(error: ValidationError, kind: type[BaseModel]) -> tuple[str, str]:
    """Returns the setting that pydantic refused first, and one line about it.

    Args:
        error: of the whole config.
        kind: the config's class.
    """
    problem = error.errors(include_url=False)[0]
    steps = [str(step) for step in problem["loc"]]
    keys = _keys(kind, steps[:-1])
    if _sections_in(kind, steps[:1]):
        del steps[1:2]  # the name, by which a section's settings are chosen
    where, value, message = ".".join(steps), reprlib.repr(problem["input"]), problem["msg"]
    if problem["type"] == "union_tag_invalid":
        tags, tag = problem["ctx"]["expected_tags"], problem["ctx"]["tag"]
        near = nearest(tag, tags.replace("'", "").split(", "))
        names = tags.replace(", ", " or ")
        return f"{where}.name", f"{where}.name is {tag!r}; it should be {names}" + (
            f"; did you mean {near!r}?" if near else ""
        )
    if problem["type"] == "extra_forbidden":
        room = f" in {'.'.join(steps[:-1])}" if steps[1:] else ""
        job = kind.model_fields["job"].default
        remedy = _ELSEWHERE.get((job, where)) or hint(steps[-1], sorted(keys))
        return where, f"unknown key {steps[-1]!r}{room}{remedy}"
    if message.startswith("Input should be "):
        legal = message.removeprefix("Input should be ").partition(", unable to")[0]
        return where, f"{where} is {value}; it should be {legal}"
    if problem["type"] == "value_error":  # a room's own words, which echo what they met
        message = message.removeprefix("Value error, ").removeprefix(f"{steps[-1]}: ")
        return where, f"{where}: {message}"
    return where, f"{where} is {value}: {message}"


def _keys(kind: type[BaseModel], steps: Sequence[str]) -> list[str]:
    """Returns the fields of the settings that a path of keys leads to.

    Behind the key of a `Section` stands the name that chose its settings.
    """
    models = [kind]
    sections = _sections_in(kind, steps[:1])
    if sections and steps[1:]:
        models, steps = [sections[0].settings_type(steps[1])], steps[2:]
    for step in steps:
        fields = [model.model_fields[step] for model in models if step in model.model_fields]
        models = [m for field in fields for m in _models_in(field.annotation)] or models
    return [name for model in models for name in model.model_fields]


def _sections_in(kind: type[BaseModel], steps: Sequence[str]) -> list[Section]:
    """Returns what chooses the settings of a field, a path of one key; none for most fields."""
    field = kind.model_fields.get(steps[0]) if steps else None
    if field is None:
        return []
    optional = [mark for arm in get_args(field.annotation) for mark in get_args(arm)]
    return [mark for mark in (*field.metadata, *optional) if isinstance(mark, Section)]


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yields the settings in a type, such as those of `A | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
