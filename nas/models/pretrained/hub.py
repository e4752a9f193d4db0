"""Weights in torchvision's cache, and their download where the user asks for it."""

from __future__ import annotations

import os
import re
import shutil
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple
from urllib.error import URLError

from nas.errors import RunError
from nas.files import replacing, sha256_of

SECONDS = 30.0
"""How long a server may be silent."""
_DIGEST = re.compile(r"-([0-9a-f]{8,64})\.")


class HubFile(NamedTuple):
    """A file that torch.hub would download; its name ends in the first digits of its SHA-256.

    Attributes:
        url: where it is.
    """

    url: str

    @property
    def prefix(self) -> str:
        """The digits of the digest that stand in the file's name."""
        digits = _DIGEST.search(self.url.rpartition("/")[2])
        assert digits is not None, self.url
        return digits[1]

    @property
    def cached(self) -> Path:
        """Where torch.hub would put it, by the variables that torch.hub reads (torch/hub.py)."""
        caches = os.environ.get("XDG_CACHE_HOME", "~/.cache")
        home = Path(os.environ.get("TORCH_HOME", os.path.join(caches, "torch"))).expanduser()
        return home / "hub" / "checkpoints" / self.url.rpartition("/")[2]

    def path(self) -> Path:
        """Returns where the file is, after a check of its digest. No network is opened.

        Raises:
            RunError: it isn't in the cache, or is another one.
        """
        path = self.cached
        if not path.is_file():
            raise RunError(f"{path.name} isn't in torchvision's cache {path.parent}")
        try:
            self._check(path)
        except OSError as error:
            raise RunError(f"{path}: can't be read ({error.strerror})") from None
        return path

    def download(self) -> Path:
        """Puts the file into torchvision's cache, and returns it.

        Raises:
            RunError: it can't be downloaded or written, or is another one than its name says.
        """
        path = self.cached
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path, shared=True) as new:
                with (
                    urllib.request.urlopen(self.url, timeout=SECONDS) as reply,  # noqa: S310
                    new.open("wb") as file,
                ):
                    shutil.copyfileobj(reply, file)
                self._check(new)
        except (OSError, HTTPException) as error:
            reason = error.reason if isinstance(error, URLError) else error
            raise RunError(
                f"{self.url}: can't be downloaded ({reason}); connect, or put the file into "
                f"{path.parent}"
            ) from None
        return path

    def _check(self, path: Path) -> None:
        """Refuses a file whose digest doesn't begin as its name ends."""
        digest = sha256_of(path)
        if not digest.startswith(self.prefix):
            raise RunError(
                f"{path}: has sha256 {digest[:12]}…, not {self.prefix}…; delete it, or download "
                "it again"
            )
