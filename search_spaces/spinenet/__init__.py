"""SpineNet's space: permuted blocks, their connections, and its published networks."""

from search_spaces.spinenet.space import SpineNetSpace

__all__ = ["SpineNetSpace"]
