"""Where results go: refused before the work if it couldn't be written, and made for it."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nas.errors import DataError, RunError
from nas.runs.folder import Run


def check_folder(folder: Path, option: str = "--out", *files: str) -> None:
    """Refuses a folder that can't be made or written; makes nothing.

    Args:
        folder: where results go.
        option: that named it.
        *files: which will be written there.

    Raises:
        RunError: with the system's reason.
    """
    try:
        _check_writable(folder)
        for name in files:
            _check_replaceable(folder / name)
    except OSError as error:
        reason = error.strerror or str(error)
        raise RunError(f"{folder}: can't be written ({reason}); name another {option}") from None


def check_file(path: Path, option: str = "--out") -> None:
    """Refuses a file that can't be made or replaced; makes nothing.

    Raises:
        RunError: with the system's reason.
    """
    try:
        _check_writable(path.parent)
        _check_replaceable(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise RunError(f"{path}: can't be written ({reason}); name another {option}") from None


def check_run(folder: Path) -> None:
    """Refuses a folder in which no run can be kept.

    Raises:
        RunError: it can't be made, or holds something else.
    """
    check_folder(folder, "--run")
    if folder.is_dir():
        Run.make(folder)


@contextmanager
def result_folder(out: Path) -> Iterator[None]:
    """Makes a folder, and removes it at the end if nothing was put into it.

    Raises:
        DataError: it can't be made.
    """
    missing = [path for path in (out, *out.parents) if not path.exists()]
    try:
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(
                f"{out}: can't be written ({error.strerror}); name another --out"
            ) from None
        yield
    finally:
        for path in missing:
            try:
                path.rmdir()
            except OSError:  # it wasn't made, or there is something in it
                break


def _check_writable(folder: Path) -> None:
    """Raises what the system would: the folder is tried, or where it isn't there, its parent."""
    there = folder
    while not os.path.lexists(there) and there != there.parent:
        _check_name(there.name)
        there = there.parent
    if not there.is_dir():
        raise OSError(errno.ENOTDIR, f"{there} is no folder")
    with tempfile.TemporaryFile(dir=there):
        pass


def _check_replaceable(path: Path) -> None:
    """Raises where a file can't be put in a path's place."""
    _check_name(f".{path.name}.new")  # under which it is written first
    if path.is_dir():
        raise OSError(errno.EISDIR, f"{path} is a folder")
    if path.exists() and not path.is_file():  # such as /dev/null, which root would replace
        raise OSError(errno.EINVAL, f"{path} is no ordinary file")


def _check_name(name: str) -> None:
    if len(os.fsencode(name)) > 255:  # of Linux's and other systems' names
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
