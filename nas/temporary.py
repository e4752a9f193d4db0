"""Temporary folders, in TMPDIR or where the system has them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from nas.errors import RunError

PREFIX = "nas-"
_folders: set[str] = set()  # those that this process has made and not removed


@contextmanager
def temporary_folder(
    kind: str = "", *, room: int = 0, longest: int | None = None
) -> Iterator[Path]:
    """Makes a folder that is removed in the end.

    Args:
        kind: The start of its name, after `nas-`.
        room: Bytes that must be free there.
        longest: Bytes that its path may have; if TMPDIR's has more, /tmp or /var/tmp is used.

    Raises:
        RunError: if none can be made; names each place that was tried and what is wrong with it.
    """
    folder = _make(_places(), PREFIX + kind, room, longest)
    try:
        yield Path(folder)
    finally:
        _remove(folder)


def remove_all() -> None:
    """Removes the folders that are still there, for a process that ends at once."""
    for folder in list(_folders):
        _remove(folder)


def _places() -> Sequence[str]:
    """Returns where a folder may be made: in TMPDIR alone, if it is set."""
    named = [os.environ[name] for name in ("TMPDIR", "TEMP", "TMP") if os.environ.get(name)]
    return [os.path.abspath(named[0])] if named else ["/tmp", "/var/tmp"]  # noqa: S108


def _make(places: Sequence[str], prefix: str, room: int, longest: int | None) -> str:
    """Makes a folder in the first of some places that can be used; see `temporary_folder`."""
    problems = []
    name_length = len(prefix) + 9  # with the slash and the random letters
    if longest is not None and all(len(os.fsencode(p)) + name_length > longest for p in places):
        most = longest - name_length
        problems += [f"{place}: its path has over {most} bytes" for place in places]
        places = ["/tmp", "/var/tmp"]  # noqa: S108
    for place in places:
        try:
            return _usable(tempfile.mkdtemp(prefix=prefix, dir=place), room)
        except OSError as error:
            problems.append(f"{place}: {error.strerror or error}")
    raise RunError(
        f"no temporary folder can be used ({'; '.join(problems)}); make room there, or set TMPDIR "
        "to another folder"
    )


def _usable(folder: str, room: int) -> str:
    """Returns a new folder; removes it if a few bytes can't be written, or too few are free.

    Raises:
        OSError: if it was removed.
    """
    _folders.add(folder)
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
    _folders.discard(folder)
