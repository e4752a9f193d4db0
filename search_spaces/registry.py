"""The spaces of detectors, by the name that a config gives."""

from __future__ import annotations

from nas.tables import OpenTable, Section
from search_spaces.base import DetectorSpace, SpaceSettings

SPACES = OpenTable(
    "spaces",
    {
        "spinenet": "search_spaces.spinenet.space:SpineNetSpace",
        "mobile": "search_spaces.mobile.space:MobileSpace",
    },
)
"""Name of a space to the place of its class, a `DetectorSpace`; another package may add its own."""

SPACE = Section(SPACES, "spinenet")
"""What chooses a space's settings by their name."""


def make_space(settings: SpaceSettings) -> DetectorSpace:
    """Returns the space that settings describe.

    Raises:
        ConfigError: if they make none.
    """
    space: DetectorSpace = SPACE.make(settings)
    return space
