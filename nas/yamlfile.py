"""YAML of any origin, read by the safe loader: of limited size, without aliases or twin keys."""

from __future__ import annotations

import reprlib
from pathlib import Path
from typing import Any

import yaml

from nas.errors import ConfigError

MAX_BYTES = 1_000_000
MAX_DEPTH = 50


class _Loader(yaml.SafeLoader):
    """The safe loader, without aliases, twin keys and deep nesting.

    A few aliases of aliases can grow without end; PyYAML silently keeps the last of two equal keys;
    and each level of nesting makes it slower.
    """

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.depth > MAX_DEPTH:
            mark = self.peek_event().start_mark
            raise yaml.composer.ComposerError(
                None, None, f"nested more than {MAX_DEPTH} levels deep", mark
            )
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.composer.ComposerError(None, None, "aliases are not read", event.start_mark)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        mapping = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value):
            raise yaml.constructor.ConstructorError(
                None, None, "a key stands here twice", node.start_mark
            )
        return mapping


def read(text: str, source: str) -> Any:
    """Returns the value of a YAML text.

    Args:
        text: The YAML.
        source: Where it is from, for messages.

    Raises:
        ConfigError: if it can't be read; the message begins with `source`.
    """
    try:
        return yaml.load(text, _Loader)  # noqa: S506  it is a safe loader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{source}{line}: no YAML: {error.problem}") from None
    except (
        yaml.YAMLError,
        RecursionError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
    ) as error:
        # PyYAML raises Python's own errors for a wrong value under an explicit tag, as in !!bool x.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"{source}: no YAML: {reason}") from None


def read_table(path: Path) -> dict[str, Any]:
    """Returns a file's settings by name; none for an empty file.

    Args:
        path: A YAML file of at most a megabyte.

    Raises:
        ConfigError: if it can't be read, or holds something else; the message names the file.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path}: larger than 1 MB; that is no config")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read ({error})") from None
    tree = read(text, str(path))
    if tree is None:
        return {}
    if not isinstance(tree, dict) or not all(isinstance(key, str) for key in tree):
        raise ConfigError(f"{path}: holds {reprlib.repr(tree)}; it should hold settings by name")
    return tree
