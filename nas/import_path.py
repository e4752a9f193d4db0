"""The path that code is imported from, which never has the working folder.

Python puts the folder of a program in front of all others, Ray sends it and the current folder to
its workers, and a child of multiprocessing begins with the current folder. There, a picture
collection's `profile.py` would run in the place of Python's own.

A process of the command `nas` imports installed packages, and what is in PYTHONPATH. So does a
worker. For a program of the user's own, a worker also finds the modules beside that program that
the program imports, behind everything that is installed.
"""

from __future__ import annotations

import ast
import os
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from types import ModuleType

HOME = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
"""The folder that this package lies in."""
TAKEN = (
    frozenset({"__main__", "__mp_main__", "nas", "proxies", "search_spaces"})
    | sys.stdlib_module_names
)
"""Names of modules that aren't a program's own, with Python's modules for other systems."""


def leave_working_folder() -> None:
    """Removes the folder that Python put in front from the path of this process and its children.

    It is there after `python -m nas`, and where a library starts `python -c`. Folders of PYTHONPATH
    stay.
    """
    if not sys.flags.safe_path:
        sys.path[:] = without_program(sys.path, os.getcwd())
    os.environ["PYTHONSAFEPATH"] = "1"
    if find_spec("search_spaces") is None:  # in a source folder that isn't installed
        sys.path.append(HOME)
        os.environ["PYTHONPATH"] = os.pathsep.join(
            filter(None, [os.environ.get("PYTHONPATH"), HOME])
        )


def without_program(path: Sequence[str], folder: str) -> list[str]:
    """Returns a path without its first entry, if that is `folder`.

    Python puts one entry in front; the same folder further back is PYTHONPATH's or a package's.

    Args:
        path: As `sys.path`, where "" is the current folder.
        folder: The folder, without symbolic links.
    """
    is_folder = bool(path) and (not path[0] or os.path.realpath(path[0]) == folder)
    return [*path[1:]] if is_folder else [*path]


@dataclass(frozen=True)
class Program:
    """The modules that a program may have of its own, as a finder for another process.

    Attributes:
        folders: Where the program finds its modules and the other process may not look, in order.
        names: The top-level modules that the program imports from there, and no others.

    Example:
        >>> Program.running().install()  # where the program has been sent
    """

    folders: tuple[str, ...] = ()
    names: frozenset[str] = frozenset()

    @classmethod
    def running(cls) -> Program:
        """Returns the program that runs in this process; empty for the command `nas`.

        Its modules are those that it has imported from its folders, and those that an import
        statement of such a module names, inside a function too.
        """
        folders = tuple(dict.fromkeys(filter(_is_own, map(os.path.abspath, sys.path))))
        places = {os.path.realpath(folder) for folder in folders}
        names = {
            name
            for name, module in [*sys.modules.items()]
            if "." not in name and name not in TAKEN and _home(module) in places
        }
        # What isn't imported yet is found by reading: from the main program's file on, each import
        # statement that leads into the folders gives another file to read.
        waiting = {_file(sys.modules["__main__"])} | {
            _file(module) for name, module in [*sys.modules.items()] if name.split(".")[0] in names
        }
        read = set[str]()
        while waiting := waiting - read - {""}:
            file = waiting.pop()
            read.add(file)
            for name in _imported(file) - names - TAKEN:
                spec = PathFinder.find_spec(name, folders)
                if spec is not None:
                    names.add(name)
                    waiting.add(spec.origin or "")
        return cls(folders, frozenset(names))

    def install(self) -> None:
        """Lets this process find the modules, behind all that it finds already."""
        if self.names and self not in sys.meta_path:
            sys.meta_path.append(self)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Finds a top-level module for Python's import; a package finds its own modules itself.

        Args:
            name: The module's.
            path: Where a package's modules lie; None for a top-level one.
            target: See `importlib.abc.MetaPathFinder`.
        """
        if path is not None or name not in self.names:
            return None
        return PathFinder.find_spec(name, self.folders, target)


def _is_own(folder: str) -> bool:
    """Tells whether a folder of the path is neither Python's own nor for installed packages."""
    standard = {os.path.realpath(place) for place in sysconfig.get_paths().values()}
    last = os.path.basename(folder)
    return (
        last not in ("site-packages", "dist-packages", "lib-dynload")
        and os.path.isdir(folder)
        and os.path.realpath(folder) not in standard
    )


def _home(module: ModuleType) -> str:
    """Returns the folder in which a top-level module was found; "" if it has none."""
    path = getattr(module, "__path__", None)
    place = next(iter(path), "") if isinstance(path, Iterable) else _file(module)
    return os.path.dirname(os.path.realpath(place)) if place else ""


def _file(module: ModuleType) -> str:
    """Returns the file of a module; "" if it has none."""
    file = getattr(module, "__file__", None)
    return file if isinstance(file, str) else ""


def _imported(file: str) -> set[str]:
    """Returns the top-level modules that a Python file's import statements name."""
    if not file.endswith(".py"):
        return set()
    try:
        with open(file, "rb") as source:
            tree = ast.parse(source.read())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return set()
    names = set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names
