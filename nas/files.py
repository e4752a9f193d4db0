"""Files on a disk that others use too: written in one step, locked, and read within limits."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, Timeout

MODEL_VERSION = 1
"""The version in the header of a trained model, see `nas.training.model_header`."""

# What a file system without locks answers.
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP}


@contextmanager
def replacing(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """Gives a temporary path beside a file, which takes the file's place at the end.

    So a reader sees the old file or the new one. After an error the old one stays, alone.

    Args:
        path: The file; its folder must be there.
        shared: Whether several processes may write it at once; the temporary name then is one
            process's own and ends in `.part`.

    Raises:
        OSError: if the file can't be written.
    """
    ending = f"{os.getpid()}.{secrets.token_hex(4)}.part" if shared else "new"
    new = path.with_name(f".{path.name}.{ending}")
    try:
        yield new
        new.replace(path)
    finally:
        with suppress(OSError):
            new.unlink()


def write_text(path: Path, text: str, *, shared: bool = False) -> None:
    """Writes a text in UTF-8 in one step.

    Args:
        path: The file; its folder must be there.
        text: All that it will hold.
        shared: See `replacing`.

    Raises:
        OSError: if the file can't be written.
    """
    with replacing(path, shared=shared) as new:
        new.write_text(text, encoding="utf-8")


def lock(path: Path, wait: float = 0.0) -> BaseFileLock:
    """Takes the lock of a file, for as long as the result lives or until its release.

    The lock of a process that ends, in whatever way, is released. On a file system without locks
    this takes none, and returns at once.

    Args:
        path: An empty file for the lock alone, made if it isn't there; it stays.
        wait: Seconds for which another process may have it.

    Raises:
        TimeoutError: if another process has it.
        OSError: if the file can't be made.
    """
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=wait, poll_interval=0.1)
    except Timeout:
        raise TimeoutError(f"{path}: another process holds it") from None
    except NotImplementedError:
        pass
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return lock


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file, as 64 hex digits.

    Raises:
        OSError: if it can't be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_limited(path: Path, most: int) -> bytes:
    """Returns a file's bytes, if they are few enough.

    Args:
        path: The file.
        most: The number of bytes that it may have.

    Raises:
        OSError: if it can't be read.
        ValueError: if it has more than `most` bytes.
    """
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it is larger than {most / 1e6:g} MB")
    return content


def read_header(path: Path) -> Any:
    """Returns the header of a file of weights; neither torch nor the tensors are loaded.

    Args:
        path: A safetensors file.

    Raises:
        OSError: if it can't be read.
        ValueError: if it is no safetensors file, or none that this toolkit has written.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return json.loads((file.metadata() or {})["nas"])
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"{path}: no header of nas ({error})") from None
