"""Settings from the command line, and where they stand in a config."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nas import yamlfile
from nas.errors import ConfigError, printable

SHORT_FORMS = {"recipe": "base"}
"""A section that may be one word, and the key it stands for: `recipe: short` is `{base: short}`."""


@dataclass(frozen=True)
class Override:
    """A setting from the command line.

    Attributes:
        option: as it was typed, for messages.
        key: with dots, such as `proxy.recipe.epochs`.
        value: as YAML reads it.
    """

    option: str
    key: str
    value: Any

    @classmethod
    def parse(cls, option: str, text: str, section: str = "") -> Override:
        """Reads `key=value`.

        Example:
            >>> Override.parse("--limit", "params=30e6", section="objective.limits").key
            'objective.limits.params'

        Raises:
            ConfigError: there is no key, or the value is no YAML.
        """
        key, equals, value = text.partition("=")
        key, typed = key.strip(), setting_line(f"{option} {text}")
        if not (key and equals and all(key.split("."))):
            raise ConfigError(f"{typed}: write it as {option} key=value")
        return cls(typed, f"{section}.{key}" if section else key, yamlfile.read(value, typed))

    def apply(self, tree: dict[str, Any]) -> None:
        """Writes the value into a config's tree, with the sections that lead to it."""
        *sections, last = self.key.split(".")
        for section in sections:
            inner = tree.get(section)
            if not isinstance(inner, dict):
                inner = {SHORT_FORMS[section]: inner} if section in SHORT_FORMS and inner else {}
                tree[section] = inner
            tree = inner
        tree[last] = self.value


def setting_line(text: str) -> str:
    """Returns a text for a message, since keys and values may be long or steer a terminal.

    Returns:
        At most 400 characters, all printable; the others are escaped.
    """
    return printable(text if len(text) <= 400 else text[:397] + "...")


def origin_of(where: str, source: str, overrides: Sequence[Override]) -> str:
    """Returns the option that set what is wrong, or else the file.

    Args:
        where: the setting, with dots.
        source: the file.
        overrides: the options on top of it; the last one counts.
    """
    for override in reversed(overrides):
        if f"{override.key}.".startswith(f"{where}.") or f"{where}.".startswith(f"{override.key}."):
            return override.option
    return source
