"""The order of rooms knows every room; import-linter itself runs in `make test`."""

from __future__ import annotations

import configparser
import pkgutil
from pathlib import Path

import nas

ROOT = Path(nas.__file__).parents[1]


def test_every_room_has_its_place() -> None:
    rules = configparser.ConfigParser()
    rules.read(ROOT / ".importlinter")
    layers = rules["importlinter:contract:rooms"]["layers"]
    known = {name.strip(" ()") for line in layers.split("\n") for name in line.split("|")}
    rooms = {f"nas.{module.name}" for module in pkgutil.iter_modules(nas.__path__)}
    assert rooms <= known, "give these a line in .importlinter"


def test_every_folder_of_sources_is_a_package() -> None:
    sources = [
        p for room in ("nas", "proxies", "search_spaces") for p in ROOT.glob(f"{room}/**/*.py")
    ]
    folders = {path.parent for path in sources}
    assert not {str(f) for f in folders if not (f / "__init__.py").is_file()}
