"""What an exported file says of itself: all that is needed to use it, and to know what it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError

from nas.errors import NasError
from nas.settings import Settings
from nas.validation import first_problem

PREFIX = "spinenas."
MAX_CHARACTERS = 5_000_000

Triple = tuple[float, float, float]


class CategoryRow(Settings):
    """A class: the user's id and name."""

    id: int
    name: str


class Card(Settings):
    """The metadata of an exported detector.

    Attributes:
        categories: column k of the raw logits is `categories[k - 1]`, column 0 background.
        input_size: side of the square input in pixels.
        resize: how a picture becomes that square: `letterbox` keeps the aspect, top left, with
            zeros below and right; `stretch` fills it.
        mean, std: of RGB in 0…1; they are applied inside the graph.
        genome: the architecture, as its JSON has it.
    """

    version: Literal[1] = 1
    categories: Annotated[tuple[CategoryRow, ...], Field(min_length=1)]
    input_size: Annotated[int, Field(ge=32, le=4096)]
    resize: Literal["letterbox", "stretch"]
    mean: Triple
    std: Triple
    genome: dict[str, object]

    def to_properties(self) -> dict[str, str]:
        """One string of JSON per field, by `spinenas.` and its name."""
        fields = self.model_dump(mode="json")
        return {PREFIX + name: json.dumps(value) for name, value in fields.items()}

    @classmethod
    def from_properties(cls, properties: Mapping[str, str], source: str) -> Self:
        """Reads what `to_properties` gave.

        Raises:
            NasError: names `source` and the field that is missing or wrong.
        """
        own = {key: text for key, text in properties.items() if key.startswith(PREFIX)}
        if not own or sum(map(len, own.values())) > MAX_CHARACTERS:
            raise NasError(f"{source}: not a model that nas export has written")
        try:
            fields = {key.removeprefix(PREFIX): json.loads(text) for key, text in own.items()}
            return cls.model_validate(fields)
        except (ValueError, RecursionError) as error:
            where = ""
            if isinstance(error, ValidationError):
                where = f" ({first_problem(error)})"
            raise NasError(f"{source}: its metadata is damaged{where}; export it again") from None
