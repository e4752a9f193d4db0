"""What every space of detectors has, and the settings that choose one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from nas.genome import Genome
from nas.genome.network import Input
from nas.settings import Settings
from nas.space import Space


class SpaceSettings(Settings):
    """A config's section `space`; each space has its own fields, and `name` with its own."""

    name: str


class DeploySettings(Settings):
    """What every family says of the detectors that it ships; a family adds its own fields.

    Attributes:
        width: Factor on the widths of blocks.
        input_size: Side of the input in pixels.
    """

    width: float = Field(default=1.0, gt=0, le=16)
    input_size: int = Field(default=640, ge=32, le=4096)


class DetectorSpace(Space):
    """A space of genomes.

    A new one has `decisions`, `legal`, `decode` and `encode`; the rest has defaults. Its line
    stands in `search_spaces.registry.SPACES`.

    Attributes:
        settings_type: what a config's section `space` may hold with this space's name.
        proxy_scale: how reduced training makes its networks smaller, where the defaults of
            `proxies.settings.ProxyScaleSettings` don't suit them.
    """

    settings_type: ClassVar[type[SpaceSettings]]
    proxy_scale: ClassVar[Mapping[str, float | None]] = {}

    settings: Any

    def __init__(self, settings: Any = None, **changes: Any) -> None:
        """Takes settings, or their fields by name."""
        self.settings = settings or self.settings_type(**changes)

    @property
    def inputs(self) -> tuple[Input, ...]:
        """Returns the inputs of the space's networks; by default one, that of its first network."""
        return (self.decode(next(self.codes())).input,)

    def key(self, candidate: Genome) -> str:
        """Returns the genome's canonical key."""
        return candidate.key

    def describe(self) -> dict[str, Any]:
        """Returns the settings."""
        described: dict[str, Any] = self.settings.model_dump(mode="json")
        return described
