"""The space of mobile detectors: a backbone, searched or published, and what follows it.

Sources: MobileDets, arXiv 2004.14525 (the searched backbone); SSDlite, and MobileNets' weights, of
torchvision; EfficientNet-Lite; YOLO-ReT, arXiv 2110.13713 (truncation, RFCR).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PlainValidator, model_validator
from pydantic_core import PydanticKnownError

from nas.errors import ConfigError, GenomeError
from nas.genome import Genome
from nas.genome.genome import SIDE
from nas.genome.network import Input
from nas.space import Code, Decision
from search_spaces.base import DetectorSpace, SpaceSettings
from search_spaces.mobile.backbones import BACKBONES, NAMES, BackboneName, FixedBackbone
from search_spaces.mobile.features import features
from search_spaces.mobile.layers import Variant
from search_spaces.mobile.listing import MobileDeploySettings, Point, genome_from_listing
from search_spaces.mobile.maps import BoxSettings, MapDecisions, is_extra
from search_spaces.mobile.stages import SearchedBackbone

Factor = Annotated[float, Field(gt=0, le=16, allow_inf_nan=False)]
SIDES = (2 * SIDE, 4096)
"""The smallest and the largest input in pixels."""


def _chosen(value: Any) -> Any:
    """Checks the name of a backbone, or those of several that are decided between."""
    if not isinstance(value, list | tuple):
        if value != "searched" and value not in NAMES:
            names = ", ".join(map(repr, ("searched", *NAMES[:-1])))
            raise PydanticKnownError("literal_error", {"expected": f"{names} or {NAMES[-1]!r}"})
        return value
    families = [BACKBONES[name].deploy if name in NAMES else None for name in value]
    alike = all(family is not None and family == families[0] for family in families)
    if not alike or len(value) < 2 or len(set(value)) < len(value):
        raise ValueError(
            "a list is of two or more different published backbones whose weights were trained "
            "with the same input and batch norm, such as [efficientnet-lite0, efficientnet-lite1]"
        )
    return tuple(value)


class MobileSpaceSettings(SpaceSettings):
    """What may be chosen, and how what is found is deployed.

    Attributes:
        backbone: `searched`, or a published one, which is only truncated: its ImageNet weights fit
            what is left of it. Several published ones of a family are a decision.
        variant: blocks of a searched backbone; each variant's networks are in the later ones too.
        input_factors: of `deploy.input_size`; the sides are rounded to multiples of 32.
        boxes: default boxes of the head.
        deploy: width, input and batch norm; of a published backbone, by default as its weights
            were trained.
    """

    name: Literal["mobile"] = "mobile"
    backbone: Annotated[
        Literal["searched", BackboneName] | tuple[BackboneName, ...], PlainValidator(_chosen)
    ] = "searched"
    variant: Variant = "ibn+fused+tucker"
    input_factors: tuple[Factor, ...] = Field(default=(0.6, 0.8, 1.0, 1.2), min_length=1)
    boxes: BoxSettings = BoxSettings()
    deploy: MobileDeploySettings = MobileDeploySettings()

    @model_validator(mode="before")
    @classmethod
    def _deployed_as_trained(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        backbone = values.get("backbone")
        first = backbone[0] if isinstance(backbone, list | tuple) and backbone else backbone
        if first not in NAMES:
            return values
        deploy = values.get("deploy", {})
        if isinstance(deploy, MobileDeploySettings):
            deploy = deploy.model_dump(exclude_unset=True)
        if not isinstance(deploy, Mapping):
            return values
        return {**values, "deploy": {**BACKBONES[first].deploy, **deploy}}


class MobileSpace(DetectorSpace):
    """Decisions on the backbone, then on the maps that the head reads, then on the input.

    `SearchedBackbone`, `FixedBackbone` and `MapDecisions` tell what each is about. Where a
    decision can have no effect, such as on a layer beyond its stage's depth, one choice is legal.

    Example:
        >>> import random
        >>> space = MobileSpace(variant="ibn")
        >>> genome = space.sample(random.Random(0))
        >>> space.decode(space.encode(genome)) == genome
        True
        >>> MobileSpace().contains(genome)
        True
    """

    name = "mobile"
    settings_type = MobileSpaceSettings
    # They are narrow as they are, and a quarter of their widths, in multiples of 8, would hardly
    # differ.
    proxy_scale: ClassVar[Mapping[str, float | None]] = {
        **dict.fromkeys(("alpha", "neck_width", "head_width", "input_size")),
        "width": 1.0,
        "input_factor": 0.5,
    }
    settings: MobileSpaceSettings

    def __init__(self, settings: MobileSpaceSettings | None = None, **changes: Any) -> None:
        """Takes settings, or their fields by name.

        Raises:
            ConfigError: if two factors give inputs of one size, or one is too small or large.
        """
        self.settings = settings or MobileSpaceSettings(**changes)
        name = self.settings.backbone
        self.backbone: SearchedBackbone | FixedBackbone
        if name == "searched":
            self.backbone = SearchedBackbone(self.settings.variant)
        else:
            self.backbone = FixedBackbone(*(name if isinstance(name, tuple) else (name,)))
        point: Point = "out" if name == "searched" else "expand"
        self.maps = MapDecisions(point, self.settings.boxes)
        self._deployed = self._deploys()
        self._ends = len(self.backbone.decisions)  # where the decisions on maps begin
        sides = Decision("input", tuple(deploy.input_size for deploy in self._deployed))
        self.decisions = (*self.backbone.decisions, *self.maps.decisions, sides)

    def _deploys(self) -> tuple[MobileDeploySettings, ...]:
        """Returns how a network is deployed at each of the inputs."""
        base, factors = self.settings.deploy, self.settings.input_factors
        sides = [SIDE * int(base.input_size * factor / SIDE + 0.5) for factor in factors]
        least, most = SIDES
        if len(set(sides)) < len(sides) or min(sides) < least or max(sides) > most:
            raise ConfigError(
                f"space.input_factors {list(factors)} make {sides} px of "
                f"space.deploy.input_size={base.input_size}; they have to differ, and be "
                f"{least} to {most}"
            )
        return tuple(base.model_copy(update={"input_size": side}) for side in sides)

    @property
    def inputs(self) -> tuple[Input, ...]:
        """Returns the inputs that the space's networks have."""
        first = self.decode(next(self.codes())).input
        return tuple(first.replace(size=deploy.input_size) for deploy in self._deployed)

    def legal(self, prefix: Sequence[int]) -> tuple[bool, ...]:
        """Returns the backbone's masks, then those of the maps; every input is legal."""
        at = len(prefix)
        if at < self._ends:
            return self.backbone.legal(prefix)
        if at < len(self.decisions) - 1:
            reaches_32 = self.backbone.reaches_32(prefix[: self._ends])
            return self.maps.legal(prefix[self._ends :], reaches_32)
        return (True,) * len(self._deployed)

    def decode(self, code: Sequence[int]) -> Genome:
        """Returns the genome of a code."""
        self.check(code)
        rows = self.backbone.rows(code[: self._ends])
        parts = self.maps.parts(code[self._ends : -1], rows)
        return genome_from_listing(rows, deploy=self._deployed[code[-1]], **parts)

    def encode(self, candidate: Genome) -> Code:
        """Returns the only code that decodes to a genome of this key.

        Raises:
            GenomeError: names the part that the space hasn't.
        """
        backbone = self.backbone.encode([b for b in candidate.blocks if not is_extra(b)])
        maps = self.maps.encode(candidate, self.backbone.reaches_32(backbone))
        sides = self.decisions[-1].choices
        if candidate.input.size not in sides:
            raise GenomeError(f"the input is {candidate.input.size} px; the space has {sides}")
        code = (*backbone, *maps, sides.index(candidate.input.size))
        if self.decode(code).key != candidate.key:
            raise GenomeError(
                "the genome differs from this space's in taps, head, batch norm, scale, input or "
                "squeeze-excite; legal: what space.decode makes"
            )
        return code

    def size(self) -> int:
        """Returns the number of codes, which is that of networks."""
        pairs = zip(self.backbone.sizes(), self.maps.sizes(), strict=True)
        return len(self._deployed) * sum(backbones * maps for backbones, maps in pairs)

    def features(self, candidate: Genome) -> dict[str, float]:
        """Returns what describes a genome to a model of its reward; see `features.features`."""
        return features(candidate)

    def describe(self) -> dict[str, Any]:
        """Returns the settings, without the variant where the backbone isn't searched."""
        unread = {"variant"} if self.settings.backbone != "searched" else set()
        return self.settings.model_dump(mode="json", exclude=unread)
