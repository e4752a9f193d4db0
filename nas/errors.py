"""Errors that a user can act on: one line that names what was met, where, and the remedy."""

from __future__ import annotations


class NasError(Exception):
    """Something that the user can mend; the command prints it as one line and exits with 2."""


class GenomeError(NasError):
    """A genome, or a code of decisions, that isn't legal."""


class DataError(NasError):
    """A data folder, annotation file or image that can't be used."""


class ConfigError(NasError):
    """A setting that is unknown, of the wrong type, or out of range."""


class RunError(NasError):
    """A run folder, reference or checkpoint that can't be used."""
