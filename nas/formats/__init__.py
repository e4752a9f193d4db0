"""Export: a trained model as files for use elsewhere, each run or read back before it counts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

from nas.errors import ConfigError, NasError
from nas.genome import Genome
from nas.tables import OpenTable

if TYPE_CHECKING:
    from nas.data.coco import Category
    from nas.models import Detector

FORMATS = OpenTable(
    "formats",
    {
        "json": "nas.formats.genome_json:GenomeJSON",
        "onnx": "nas.formats.onnx.format:ONNX",
    },
)
"""Name of a format, which its files end in, to the place of its class; another package may add."""


class Format(Protocol):
    """Writes a model as one file, and checks what it wrote; made without arguments.

    Attributes:
        needs_weights: whether an architecture alone isn't enough.
    """

    needs_weights: ClassVar[bool]

    def write(
        self,
        model: Detector | Genome,
        categories: Sequence[Category],
        path: Path,
        images: Sequence[Path],
    ) -> object:
        """Writes the file.

        Args:
            model: a trained detector, which stays as it is; an architecture where no weights are
                needed.
            categories: the user's, label k being `categories[k - 1]`.
            path: of the file, with its ending.
            images: pictures to try the file on; without any, built-in scenes.

        Raises:
            NasError: one line; what failed its check isn't left behind.
        """


def parse_formats(names: Sequence[str]) -> tuple[str, ...]:
    """Returns the names, checked, each once.

    Raises:
        ConfigError: names one that isn't known, and what is.
    """
    for name in names:
        if name not in FORMATS:
            raise ConfigError(f"--format {name!r}: no such format; {FORMATS.unknown(name)}")
    if not names:
        raise ConfigError(f"--format: empty; name some of {', '.join(FORMATS.complete())}")
    return tuple(dict.fromkeys(names))


def export(
    model: Detector | Genome,
    categories: Sequence[Category],
    path: Path,
    formats: Sequence[str] = ("json", "onnx"),
    images: Sequence[Path] = (),
) -> list[Path]:
    """Writes a model in some formats.

    Args:
        model: a trained detector; an architecture alone will do for `json`.
        categories: the user's, label k being `categories[k - 1]`.
        path: of the files, without their ending: `runs/x/model` gives `runs/x/model.onnx`.
        formats: names of lines of `FORMATS`.
        images: pictures on which the files are tried; without any, built-in scenes.

    Returns:
        The files written, in the order of `formats`.

    Raises:
        NasError: one line; what failed its check isn't left behind.
    """
    written = []
    for name in parse_formats(formats):
        target = path.with_name(f"{path.name}.{name}")
        form: Format = FORMATS.load(name)()
        if form.needs_weights and isinstance(model, Genome):
            raise NasError(f"{target}: an architecture without weights; train it first")
        form.write(model, categories, target, images)
        written.append(target)
    return written
