"""Weights that a Python package brings: found where it is installed, checked, never imported."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import NamedTuple

from nas.errors import RunError
from nas.files import sha256_of


class PackagedFile(NamedTuple):
    """A file of weights in a package.

    Attributes:
        package: the distribution's name.
        file: its path below the folder that the package is installed in.
        sha256: of the file, 64 hex digits.
    """

    package: str
    file: str
    sha256: str

    def path(self) -> Path:
        """Returns where the file is, after a check of its digest. No network is opened.

        Raises:
            RunError: if the package isn't installed, or the file is another one.
        """
        try:
            path = Path(str(distribution(self.package).locate_file(self.file)))
        except PackageNotFoundError:
            raise RunError(
                f"the package {self.package} isn't installed; pip install 'spinenas[pretrained]'"
            ) from None
        try:
            digest = sha256_of(path)
        except OSError as error:
            raise RunError(
                f"{path}: can't be read ({error.strerror}); install {self.package} again"
            ) from None
        if digest != self.sha256:
            raise RunError(
                f"{path}: has sha256 {digest[:12]}…, not {self.sha256[:12]}…; install "
                f"{self.package} again"
            )
        return path
