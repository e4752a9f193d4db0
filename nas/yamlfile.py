"""YAML from anywhere: by the safe loader, of limited size, without aliases and twin keys."""

from __future__ import annotations

import reprlib
from pathlib import Path
from typing import Any

import yaml

from nas.errors import ConfigError

MAX_BYTES = 1_000_000
MAX_DEPTH = 50


class _Loader(yaml.SafeLoader):
    """The safe loader without aliases, which can be made to grow without end, nor twins.

    Nor does it read what is nested deeper than any config: each level makes it slower.
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
    """Returns what a piece of YAML says.

    Raises:
        ConfigError: in one line that begins with `source`.
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
    ) as e:
        # PyYAML lets a wrong value under an explicit tag, such as !!bool x, out as what it met.
        reason = (str(e).splitlines() or [type(e).__name__])[0]
        raise ConfigError(f"{source}: no YAML: {reason}") from None


def read_table(path: Path) -> dict[str, Any]:
    """Returns the settings by name that a file holds; none for an empty one.

    Raises:
        ConfigError: in one line that names the file.
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
