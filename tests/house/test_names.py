"""The promised names: they come when asked for, and nothing takes their place."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys

import pytest

import nas

VERBS = (
    *("build", "compare", "evaluate", "export", "load"),
    *("plan", "predict", "profile", "search", "train"),
)
CLASSES = ("ChoiceSpace", "Genome", "GenomeError")


def fresh_python(code: str) -> str:
    """Runs code in a new interpreter and returns what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    "code",
    [
        "import nas, search_spaces.zoo",
        "import nas.config.schema, nas.runs.folder, nas.study.study, search_spaces.spinenet.space",
        "import nas.cli.main; assert nas.cli.main.main(['--help']) == 0",
        "import nas.cli.main; assert nas.cli.main.main(['search', '--help']) == 0",
    ],
)
def test_that_loads_no_torch(code: str) -> None:
    heavy = {"torch", "torchvision", "ray"}
    loaded = fresh_python(f"import sys; {code}; print('LOADED', *{heavy} & {{*sys.modules}})")
    assert loaded.splitlines()[-1] == "LOADED"


@pytest.mark.parametrize("name", VERBS)
def test_verb_is_a_function(name: str) -> None:
    assert callable(getattr(nas, name))
    assert name in dir(nas)


@pytest.mark.parametrize("name", CLASSES)
def test_class(name: str) -> None:
    assert isinstance(getattr(nas, name), type)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("search_spaces.spinenet", "SpineNetSpace"),
        ("search_spaces.mobile", "MobileSpace"),
        ("nas.executors.tune", "ControllerSearcher"),
    ],
)
def test_promised_class_is_imported_from_its_package(module: str, name: str) -> None:
    assert isinstance(getattr(importlib.import_module(module), name), type)


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="serach"):
        nas.serach  # noqa: B018


def test_no_module_has_the_name_of_a_verb() -> None:
    modules = {module.name for module in pkgutil.iter_modules(nas.__path__)}
    assert not modules & {*VERBS, *CLASSES}


def test_verb_stays_a_function_whatever_was_imported_before() -> None:
    code = "import nas.searching, nas.evaluation, nas.jobs, nas.training, nas; print(nas.search)"
    assert fresh_python(code).startswith("<function search")
