"""The spaces of detectors, as a config has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Discriminator, Tag

from search_spaces.mobile.space import MobileSpace, MobileSpaceSettings
from search_spaces.spinenet.space import SpineNetSpace, SpineNetSpaceSettings

DetectorSpace = SpineNetSpace | MobileSpace
"""A space of genomes: besides what every space has, ``inputs``."""


def space_name(settings: Any) -> str:
    """The name in a config's section, or in settings; SpineNet's where there is none."""
    if isinstance(settings, Mapping):
        return str(settings.get("name", "spinenet"))
    return str(getattr(settings, "name", "spinenet"))


SpaceSettings = Annotated[
    Annotated[SpineNetSpaceSettings, Tag("spinenet")]
    | Annotated[MobileSpaceSettings, Tag("mobile")],
    Discriminator(space_name),
]


def make_space(settings: SpineNetSpaceSettings | MobileSpaceSettings) -> DetectorSpace:
    """The space that settings describe.  Raises ConfigError for those that make none."""
    if isinstance(settings, MobileSpaceSettings):
        return MobileSpace(settings)
    return SpineNetSpace(settings)
