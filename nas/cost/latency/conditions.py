"""What every table of a device has: under which conditions it was measured, and how it is read."""

from __future__ import annotations

import json
import reprlib
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, Field, PositiveInt, ValidationError

from nas.errors import ConfigError, one_line
from nas.files import read_limited
from nas.settings import Settings
from nas.validation import first_problem

MAX_BYTES = 10_000_000
MAX_MS = 1e6  # a quarter of an hour
PRINTABLE = r"^\P{C}+$"  # what is shown has no control characters

Words = Annotated[str, Field(pattern=PRINTABLE, max_length=200)]
Time = Annotated[float, Field(gt=0, le=MAX_MS, allow_inf_nan=False)]
_Model = TypeVar("_Model", bound=BaseModel)


class Conditions(Settings):
    """Under which times hold.

    Attributes:
        version: of the kind of table.
        device, runtime, precision: in words, such as "Pixel 4", "onnxruntime 1.31", "float32".
        threads: that the runtime uses.
        overhead_ms: of what every network has: preparing the picture, decoding boxes, NMS.
    """

    version: int
    device: Words
    runtime: Words
    threads: PositiveInt
    precision: Words
    overhead_ms: Annotated[float, Field(ge=0, le=MAX_MS, allow_inf_nan=False)]

    @property
    def conditions(self) -> str:
        """Says them in words: `Pixel 4 (onnxruntime 1.31, threads: 4, float32)`."""
        return f"{self.device} ({self.runtime}, threads: {self.threads}, {self.precision})"


def read_json(path: Path, what: str) -> Any:
    """Reads a JSON file that somebody sent.

    Args:
        path: of the file.
        what: it should be, for messages: "latency table".

    Raises:
        ConfigError: it can't be read, is larger than 10 MB, no JSON, or has a key twice.
    """
    try:
        return json.loads(read_limited(path, MAX_BYTES), object_pairs_hook=_distinct)
    except (OSError, ValueError, RecursionError) as error:
        raise refusal(path, what, one_line(error, 200)) from None


def validated(model: type[_Model], tree: Any, path: Path, what: str) -> _Model:
    """Reads a JSON document strictly.

    Args:
        model: what it should be.
        tree: the document.
        path: of its file.
        what: it should be, for messages.

    Raises:
        ConfigError: in one line that names the field.
    """
    try:
        # By way of JSON, in which a tuple is a list.
        return model.model_validate_json(json.dumps(tree), strict=True)
    except ValidationError as error:
        raise refusal(path, what, _shown(error)) from None
    except RecursionError as error:
        raise refusal(path, what, str(error)) from None


def refusal(path: Path, what: str, message: str) -> ConfigError:
    """Returns the error of a file that isn't what it should be."""
    return ConfigError(f"{path}: no {what}: {message}; mend it, or name another")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuses a key that stands there twice: of two times, which one is meant?"""
    values = dict(pairs)
    if len(values) < len(pairs):
        twin, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"{twin[:100]!a} stands there twice")
    return values


def _shown(error: ValidationError) -> str:
    problem = first_problem(error)
    where = ".".join(f"{step!s:.100}" for step in problem.steps)
    value = "" if problem.kind == "missing" else f" (met {reprlib.repr(problem.value):.120})"
    message = f"{where or 'document'}: {problem.message}{value}"
    return message.encode("unicode_escape").decode()
