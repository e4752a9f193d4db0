"""A file that appears under its name only when it has passed its check."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nas.errors import NasError
from nas.files import replacing


@contextmanager
def checked_file(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path`; renames it at the end, or deletes it on an error.

    Raises:
        NasError: nothing can be written there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as new:
            yield new
    except OSError as error:
        raise NasError(
            f"{path}: can't be written ({error.strerror or error}); name another folder with --out"
        ) from None
