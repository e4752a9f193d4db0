"""Errors that a user can act on: one line with the value, its place and the remedy."""

from __future__ import annotations

import re
import unicodedata

_BREAK = re.compile(r"\s*[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]\s*")


class NasError(Exception):
    """An error that the user can mend; the command prints it as one line and exits with 2."""


class GenomeError(NasError):
    """A genome, or a code of decisions, that isn't legal."""


class DataError(NasError):
    """A data folder, annotation file or image that can't be used."""


class ConfigError(NasError):
    """A setting that is unknown, of the wrong type, or out of range."""


class RunError(NasError):
    """A run folder, reference or checkpoint that can't be used."""


def amount(number: int, noun: str) -> str:
    """Returns a number with its noun: `1 image`, `2 images`, `2 boxes`.

    Args:
        number: How many there are.
        noun: The word for one of them.
    """
    plural = f"{noun}es" if noun.endswith(("x", "s")) else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"


def one_line(text: object, most: int | None = None) -> str:
    """Returns a message, or an error's, as one line that can't steer a terminal.

    Line breaks with the blanks around them become one blank. What can't be printed is escaped.

    Args:
        text: The message, or what turns into it.
        most: The number of characters that are kept; None keeps all.
    """
    return printable(_BREAK.sub(" ", str(text)).strip())[:most]


def printable(text: str) -> str:
    r"""Returns a text with what can't be printed as escapes, such as `\x1b`.

    So neither a name in a file nor one on the disk can steer a terminal, reverse what is read, or
    be lost: bytes of a file name that are no UTF-8 are `\udc80` to `\udcff`.
    """
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(character: str) -> str:
    """Returns a character, or its escape if it could do harm."""
    # Blanks of any width, and the joiners that Persian names and some emoji need, do no harm.
    harmless = unicodedata.category(character) == "Zs" or character in "\u200c\u200d"
    if harmless or character.isprintable():
        return character
    return character.encode("unicode_escape").decode()
