"""A command whose help names the formats of the table, those of installed packages too."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand


class FormatsCommand(TyperCommand):
    """Asks the table when its help is wanted: that imports what `nas --help` does without."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Writes the help."""
        from nas.formats import FORMATS

        for parameter in self.params:
            if parameter.name == "formats":
                parameter.help = f"Of {', '.join(FORMATS.complete())}."  # type: ignore[attr-defined]
        super().format_help(ctx, formatter)
