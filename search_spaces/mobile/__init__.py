"""Mobile detectors' space: a backbone cut anywhere, a neck, a head and an input."""

from search_spaces.mobile.space import MobileSpace

__all__ = ["MobileSpace"]
