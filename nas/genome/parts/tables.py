"""The open tables of parts: which class a `type` stands for, also of another package.

    from nas.genome.parts import OPERATIONS
    OPERATIONS["star"] = "my_package.star:Star"

From then on a genome may have blocks of that type. A file names a type, never a module: only what
stands in a table is ever loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import PydanticKnownError, SchemaValidator, ValidationError, core_schema

from nas.genome.memo import remembered
from nas.tables import OpenTable

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler


class PartTable(OpenTable):
    """The types of one kind of part: name to `module:Class`.

    It stands in an annotation, `Annotated[Operation, OPERATIONS]`, as that which chooses the
    class by the field `type`.
    """

    def having(self, trait: str) -> list[str]:
        """Returns the names of the types whose class has a flag set, such as `trains_apart`."""
        return [name for name in self if getattr(self.load(name), trait)]

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        # What stands there now is one tagged union, checked and written by pydantic's core; a
        # type that is added later takes the way through Python.
        ours = {name: handler.generate_schema(self.load(name)) for name in self}

        def chosen(value: Any, tagged: core_schema.ValidatorFunctionWrapHandler) -> Any:
            if len(self) == len(ours):  # nothing was added, that is known of
                try:
                    return tagged(value)
                except ValidationError:
                    if len(self.complete()) == len(ours):
                        raise
            name = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
            if name in ours or not isinstance(name, str):
                return tagged(value)
            if name in self:
                return _validator(self.load(name)).validate_python(value)
            legal = ", ".join(map(repr, self))
            raise PydanticKnownError(
                "union_tag_invalid",
                {"discriminator": "'type'", "tag": name, "expected_tags": legal},
            )

        return core_schema.no_info_wrap_validator_function(
            chosen,
            core_schema.tagged_union_schema(ours, discriminator="type"),
            serialization=core_schema.simple_ser_schema("any"),
        )


@remembered
def _validator(kind: type[Any]) -> SchemaValidator:
    """Returns what checks a class that was added, with messages that name its type."""
    name = kind.model_fields["type"].default
    choices = {name: kind.__pydantic_core_schema__}
    return SchemaValidator(core_schema.tagged_union_schema(choices, discriminator="type"))


OPERATIONS = PartTable(
    "operations",
    {
        "conv": "nas.genome.parts.conv:Conv",
        "max_pool": "nas.genome.parts.max_pool:MaxPool",
        "bottleneck": "nas.genome.parts.bottleneck:Bottleneck",
        "residual": "nas.genome.parts.residual:Residual",
        "inverted_residual": "nas.genome.parts.inverted_residual:InvertedResidual",
        "fused_inverted_residual": "nas.genome.parts.fused_inverted_residual:FusedInvertedResidual",
        "tucker": "nas.genome.parts.tucker:Tucker",
    },
)
"""What a block does."""

RESAMPLES = PartTable(
    "resamples",
    {
        "direct": "nas.genome.parts.direct:Direct",
        "alpha": "nas.genome.parts.alpha:AlphaResample",
        "separable": "nas.genome.parts.separable:SeparableResample",
    },
)
"""How a block reads its parent."""

TRANSFORMS = PartTable(
    "transforms",
    {
        "l2_norm": "nas.genome.parts.l2_norm:L2Norm",
        "pool": "nas.genome.parts.pool:Pool",
    },
)
"""What becomes of a tapped map."""

NECKS = PartTable(
    "necks",
    {
        "none": "nas.genome.parts.no_neck:NoNeck",
        "endpoints": "nas.genome.parts.endpoints:Endpoints",
        "rfcr": "nas.genome.parts.rfcr:RFCR",
    },
)
"""From the tapped maps to those that a head reads."""

ANCHORS = PartTable(
    "anchors",
    {
        "octave": "nas.genome.parts.anchors:OctaveAnchors",
        "default_boxes": "nas.genome.parts.anchors:DefaultBoxes",
    },
)
"""The boxes at one place of a map."""

HEADS = PartTable(
    "heads",
    {
        "retinanet": "nas.genome.parts.retinanet:RetinaNetHead",
        "ssd": "nas.genome.parts.ssd:SSDHead",
        "mimicdet": "nas.genome.parts.mimicdet:MimicDetHead",
    },
)
"""From maps to detections."""
