"""Temporary folders: in TMPDIR or where the system has them, named when they can't be had."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from nas.errors import RunError

PREFIX = "nas-"
_made: set[str] = set()


@contextmanager
def temporary_folder(
    kind: str = "", *, room: int = 0, longest: int | None = None
) -> Iterator[Path]:
    """Makes a folder that is removed in the end.

    Args:
        kind: what its name begins with, after `nas-`.
        room: bytes that must be free there.
        longest: bytes that its path may have; where TMPDIR has more, /tmp or /var/tmp is taken.

    Raises:
        RunError: there is none; names each folder that was tried and what is wrong with it.
    """
    folder = _made_in(_places(), PREFIX + kind, room, longest)
    try:
        yield Path(folder)
    finally:
        _remove(folder)


def remove_all() -> None:
    """Removes the folders that are still there, for a process that ends at once."""
    for folder in list(_made):
        _remove(folder)


def _places() -> Sequence[str]:
    """Where a folder may be made; TMPDIR alone, if it is set, but for what its path is too long."""
    named = [os.environ[name] for name in ("TMPDIR", "TEMP", "TMP") if os.environ.get(name)]
    return [os.path.abspath(named[0])] if named else ["/tmp", "/var/tmp"]  # noqa: S108


def _made_in(places: Sequence[str], prefix: str, room: int, longest: int | None) -> str:
    wrong = []
    own = len(prefix) + 9  # with the slash and the random letters
    if longest is not None and all(len(os.fsencode(p)) + own > longest for p in places):
        wrong += [f"{place}: its path has over {longest - own} bytes" for place in places]
        places = ["/tmp", "/var/tmp"]  # noqa: S108
    for place in places:
        try:
            return _usable(tempfile.mkdtemp(prefix=prefix, dir=place), room)
        except OSError as error:
            wrong.append(f"{place}: {error.strerror or error}")
    raise RunError(
        f"no temporary folder can be used ({'; '.join(wrong)}); make room there, or set TMPDIR to "
        "another folder"
    )


def _usable(folder: str, room: int) -> str:
    """Returns a new folder; removes it if a few bytes can't be written, or too few are free."""
    _made.add(folder)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(4096))
        free = shutil.disk_usage(folder).free
        if free < room:
            raise OSError(f"{free / 1e6:.0f} MB are free, and {room / 1e6:.0f} MB are needed")
    except BaseException:
        _remove(folder)
        raise
    return folder


def _remove(folder: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    _made.discard(folder)
