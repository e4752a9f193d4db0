"""Open tables: the kinds of things that another package may add to, each a name and a class.

A table takes a name to the place of its class, `"module:Class"`. Another package adds a line in
Python, `SPACES["mine"] = "my_package.space:MySpace"`, or, so that every process knows it, declares
the same line as an entry point of its distribution:

    [project.entry-points."spinenas.spaces"]
    mine = "my_package.space:MySpace"

Entry points are read only when a name isn't in the table, and a class is imported only when it is
used. A user's file names a line of the table, never a module.
"""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pydantic_core import PydanticKnownError, SchemaValidator, core_schema

from nas.errors import ConfigError, one_line

if TYPE_CHECKING:
    from pydantic import BaseModel, GetCoreSchemaHandler

GROUPS = "spinenas."
"""The start of the name of a group of entry points, before a table's kind."""
_PLACE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")

log = logging.getLogger(__name__)


class OpenTable(dict[str, str]):
    """The names of one kind of thing, each with the place of its class.

    Example:
        >>> table = OpenTable("spaces", {"mobile": "search_spaces.mobile.space:MobileSpace"})
        >>> table.load("mobile").name
        'mobile'

    Args:
        kind: Such as "spaces"; installed packages declare lines in the group `spinenas.spaces`.
        lines: Those of this package.
    """

    def __init__(self, kind: str, lines: Mapping[str, str]) -> None:
        super().__init__(lines)
        self.kind = kind
        self._complete = False

    def __hash__(self) -> int:  # type: ignore[override]  # annotations with it stand in sets
        return id(self)

    def __setitem__(self, name: str, place: str) -> None:
        if self.get(name, place) != place:
            raise ValueError(
                f"{self.kind}: {name!r} is {self.get(name)}; give yours another name than that"
            )
        super().__setitem__(name, place)

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or super(OpenTable, self.complete()).__contains__(name)

    def __missing__(self, name: str) -> str:
        place = self.complete().get(name)
        if place is None:
            raise KeyError(name)
        return place

    def complete(self) -> OpenTable:
        """Adds the lines that installed packages declare, once; returns the table."""
        if not self._complete:
            self._complete = True
            for name, place, package in _installed(self.kind):
                line = f"{package}: {self.kind} {name!r}"
                if not _PLACE.fullmatch(place):
                    log.warning("%s is left out: %r is no module:Class", line, place)
                elif self.get(name, place) != place:
                    log.warning("%s is left out: the name is %s", line, self[name])
                else:
                    super().__setitem__(name, place)
        return self

    def load(self, name: str) -> Any:
        """Returns the class of a name.

        Args:
            name: A name of the table.

        Raises:
            KeyError: if the table hasn't the name.
            ConfigError: if the class can't be imported.
        """
        place = self[name]
        module, attribute = place.split(":")
        try:
            return getattr(import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise ConfigError(
                f"{self.kind}: {name!r} is {place}, which can't be imported "
                f"({one_line(error, 200)}); install or mend its package"
            ) from error

    def unknown(self, name: str) -> str:
        """Returns the end of a message on a name that isn't here: the known ones and the nearest.

        Args:
            name: As it was typed.
        """
        near = difflib.get_close_matches(name, self.complete(), n=1)
        return f"known are {', '.join(self)}" + (f" (did you mean {near[0]!r}?)" if near else "")


def _installed(kind: str) -> list[tuple[str, str, str]]:
    """Returns the lines of a kind that packages declare: name, place and package."""
    from importlib.metadata import entry_points

    return sorted(
        (entry.name, entry.value.strip(), entry.dist.name if entry.dist else "a package")
        for entry in entry_points(group=GROUPS + kind)
    )


@dataclass(frozen=True)
class Section:
    """A config's section whose `name` is a line of a table, and chooses the section's settings.

    It stands in an annotation, `Annotated[SpaceSettings, Section(SPACES, "spinenet")]`. A class in
    the table says with `settings_type` what its section may hold; one of those fields is `name`.

    Attributes:
        table: The names that a section may have.
        default: The name of a section that has none.
    """

    table: OpenTable
    default: str

    def name(self, settings: Any) -> str:
        """Returns the name in a section, or in settings."""
        if isinstance(settings, Mapping):
            return str(settings.get("name", self.default))
        return str(getattr(settings, "name", self.default))

    def settings_type(self, name: str) -> type[BaseModel]:
        """Returns the class of the settings that go with a name.

        Raises:
            KeyError: if the table hasn't the name.
            ConfigError: if its class can't be imported, or has no settings of this name.
        """
        settings = getattr(self.table.load(name), "settings_type", None)
        field = getattr(settings, "model_fields", {}).get("name")
        if settings is None or field is None or field.default != name:
            raise ConfigError(
                f"{self.table.kind}: {name!r} is {self.table[name]}, whose settings_type needs the "
                f"field name: Literal[{name!r}] = {name!r}"
            )
        chosen: type[BaseModel] = settings
        return chosen

    def make(self, settings: Any, *arguments: Any, **options: Any) -> Any:
        """Makes an object of the class that a section names.

        Args:
            settings: The section's; the class is called with them.
            arguments: Further ones of the class.
            options: Further ones by name.
        """
        return self.table.load(settings.name)(settings, *arguments, **options)

    def _validated(self, value: Any) -> Any:
        """Returns the section as the settings of its name; raises pydantic's errors."""
        name = self.name(value)
        if name not in self.table:
            legal = ", ".join(repr(line) for line in self.table)
            raise PydanticKnownError(
                "union_tag_invalid",
                {"discriminator": "'name'", "tag": name, "expected_tags": legal},
            )
        return _validator(self.settings_type(name), name).validate_python(value)

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self._validated, serialization=core_schema.simple_ser_schema("any")
        )


@cache
def _validator(kind: type[BaseModel], name: str) -> SchemaValidator:
    """Returns a validator of a section, in whose problems the section's name leads the place."""
    return SchemaValidator(
        core_schema.tagged_union_schema(
            {name: kind.__pydantic_core_schema__}, discriminator=lambda value: name
        )
    )
