"""Every setting is read by somebody, or refused where nobody would read it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

import nas
from nas.config.loading import load_search, load_train
from nas.config.overrides import Override
from nas.config.schema import SearchConfig, TrainConfig
from nas.errors import ConfigError
from nas.executors import ComputeSettings
from nas.study.stopping import STOPPERS, STOPPING
from proxies.base import PROXIES, PROXY
from search_spaces.registry import SPACE, SPACES

ROOT = Path(nas.__file__).parents[1]
WHOLE = {
    "ScaleSettings": "handed to Genome.scaled, whose arguments have the same names",
    "ProxyScaleSettings": "handed to Genome.scaled, whose arguments have the same names",
}
"""Settings that are read as one, by `model_dump`."""
TAGS = {"job", "name", "type", "kind"}
"""Fields by which a section is chosen."""


def models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for field in annotation.model_fields.values():
            yield from models(field.annotation)
    for argument in get_args(annotation):
        yield from models(argument)


def every_setting() -> list[tuple[type[BaseModel], str]]:
    """Of a search's and a training's config, section by section."""
    roots = (SearchConfig, TrainConfig, *(SPACE.settings_type(name) for name in SPACES))
    roots += tuple(PROXY.settings_type(name) for name in PROXIES)
    roots += tuple(STOPPING.settings_type(name) for name in STOPPERS)
    found = {kind: None for root in roots for kind in models(root)}
    return [(kind, name) for kind in found for name in kind.model_fields]


@cache
def attributes_read() -> frozenset[str]:
    """Names read from some object, by code that isn't a check of the settings themselves."""
    found = set()
    for room in ("nas", "proxies", "search_spaces"):
        for path in sorted((ROOT / room).rglob("*.py")):
            found |= set(_read_in(ast.parse(path.read_text(encoding="utf-8"))))
    return frozenset(found)


def _read_in(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef) and any(
        "validator" in ast.dump(d) for d in node.decorator_list
    ):
        return
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
        yield node.attr
    for inner in ast.iter_child_nodes(node):
        yield from _read_in(inner)


def test_every_setting_is_read() -> None:
    unread = [
        f"{kind.__name__}.{name}"
        for kind, name in every_setting()
        if kind.__name__ not in WHOLE and name not in TAGS | attributes_read()
    ]
    assert not unread


def test_settings_that_are_read_as_one_have_a_reader_s_names() -> None:
    from inspect import signature

    from nas.genome import Genome

    accepted = set(signature(Genome.scaled).parameters)
    for kind, name in every_setting():
        assert kind.__name__ not in WHOLE or name in accepted, f"{kind.__name__}.{name}"


REFUSED = [
    ("search", ["compute.threads=7"], "unknown key 'threads' in compute; .* proxy.threads"),
    ("search", ["proxy.recipe.threads=4"], "recipe.threads is 4, .*proxy.threads"),
    ("search", ["proxy.precision=bf16", "proxy.recipe.precision=fp16"], "set one of them"),
    ("search", ["proxy.recipe.checkpoint_minutes=3"], "keeps no checkpoint"),
    ("search", ["compute.executor=inline", "compute.address=auto"], "executor 'inline'"),
    ("train", ["compute.threads=7"], "unknown key 'threads' in compute; .* recipe.threads"),
    ("train", ["compute.trial_timeout=3m"], "a training has no trials"),
    ("train", ["compute.max_failures=0.5"], "a training has no trials"),
    ("train", ["compute.executor=inline", "compute.workers=2"], "set executor ray, or workers 1"),
    ("train", ["compute.address=auto"], "set workers 2 or more"),
    ("train", ["compute.gpus_per_worker=0.5"], "set auto, 1 or 0"),
]


@pytest.mark.parametrize(("job", "sets", "named"), REFUSED)
def test_what_nobody_would_read_is_refused(job: str, sets: list[str], named: str) -> None:
    options = [Override.parse("--set", one) for one in sets]
    with pytest.raises(ConfigError, match=named) as refused:
        (load_search if job == "search" else load_train)(None, options)
    assert len(str(refused.value).splitlines()) == 1


def test_a_trial_s_threads_are_the_proxy_s() -> None:
    config = load_search(None, [Override.parse("--set", "proxy.threads=3")])
    compute = config.compute.with_threads(config.proxy.threads)
    assert isinstance(compute, ComputeSettings) and compute.threads == 3
    assert config.proxy.trial_recipe().threads == 3
    assert "workers" not in compute.model_fields_set  # so that as many as fit may be taken
