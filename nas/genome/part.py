"""What every part of a genome has: the frozen base, and the types of fields.

A part is frozen data that describes itself: its fields, what becomes of shapes, and of which
operators it consists (`nas.genome.parts`). Its `type` chooses its fields, so a kernel size can't
stand where nothing reads it. Widths are base widths; `Scale` turns them into the widths of the
deployed network.
"""

from __future__ import annotations

import json
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

Activation = Literal["none", "relu", "relu6", "swish", "hard_swish", "sigmoid", "hard_sigmoid"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.\-]{1,64}$")]
Width = Annotated[int, Field(ge=1, le=16384)]
Kernel = Annotated[int, Field(ge=1, le=31)]
Stride = Literal[1, 2, 4]
Padding = Annotated[int, Field(ge=0, le=31)]
Fraction = Annotated[float, Field(gt=0, le=16, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def later_field(default: Any) -> Any:
    """Returns a field that genomes had no need of before: where it has its default, JSON omits it.

    So genomes of before keep their JSON, byte for byte, as they keep their keys.
    """
    return Field(default=default, exclude_if=lambda value: value == default)


class Part(BaseModel):
    """The base of all parts: frozen and closed to unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @cached_property
    def signature(self) -> str:
        """Returns all fields as JSON, computed once; equal for equal parts."""
        return self.model_dump_json()

    @cached_property
    def form(self) -> str:
        """Returns JSON of what a key compares, but for widths, which it takes under the scale."""
        return json.dumps(_compared(self, frozenset({"width", "scalable"})), sort_keys=True)

    @cached_property
    def whole(self) -> str:
        """Returns JSON of all that a key compares."""
        return json.dumps(_compared(self), sort_keys=True)

    def resolved(self) -> tuple[Self, frozenset[str]]:
        """Tells what a key compares: the part, and those of its fields that nothing reads.

        Returns:
            The part with fields that are derived from others filled in, and the names of fields
            that make no difference to the network.
        """
        return self, frozenset()

    def check_buildable(self, name: str) -> None:
        """Refuses what the schema can say and no module is built for yet.

        Such a genome is legal, has a key and can be drawn; nothing may count it as another.

        Args:
            name: of the block or unit, for the message.

        Raises:
            GenomeError: names the field, and what would be legal.
        """

    def replace(self, **changes: Any) -> Self:
        """Returns a checked copy with other fields.

        Pydantic's `model_copy` checks nothing, and would keep cached strings that are stale.
        """
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self)(**{**fields, **changes})

    def with_activation(self, activation: Literal["relu", "swish"]) -> Self:
        """Returns a copy with this in place of every ReLU and swish, parts within it included."""

        def switched(value: Any, is_activation: bool) -> Any:
            if isinstance(value, Part):
                return value.with_activation(activation)
            if isinstance(value, tuple):
                return tuple([switched(item, is_activation) for item in value])
            return activation if is_activation and value in ("relu", "swish") else value

        fields = type(self).model_fields
        return self.replace(
            **{
                name: switched(getattr(self, name), field.annotation == Activation)
                for name, field in fields.items()
            }
        )


def _compared(value: Any, unread: frozenset[str] = frozenset()) -> Any:
    """Returns what a part says beyond its type's defaults, so that new fields leave keys alone."""
    if isinstance(value, tuple):
        return [_compared(item) for item in value]
    if not isinstance(value, Part):
        return value
    part, derived = value.resolved()
    fields = {"type": part.type} if hasattr(part, "type") else {}
    for name, field in type(part).model_fields.items():
        item = getattr(part, name)
        if name not in unread and name not in derived and item != field.default:
            fields[name] = _compared(item)
    return fields
