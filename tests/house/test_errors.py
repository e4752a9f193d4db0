"""A message is one line, whole, and can't steer a terminal."""

from __future__ import annotations

import os

import pytest

from nas.errors import one_line, printable


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("line 3\nis cut", "line 3 is cut"),
        ("a \r\n\t b", "a b"),
        ("a\u2028b\x85c\x0bd", "a b c d"),
        ("two  blanks.jpg", "two  blanks.jpg"),
        ("  at the ends\n", "at the ends"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("tab\there", "tab\\there"),
        (ValueError("what\nhappened"), "what happened"),
    ],
)
def test_one_line(text: object, line: str) -> None:
    assert one_line(text) == line


def test_a_line_is_cut() -> None:
    assert one_line("abc\ndef", 5) == "abc d"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("größe 箱 ½", "größe 箱 ½"),
        ("a\xa0b\u3000c", "a\xa0b\u3000c"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("fir\u202egnp", "fir\\u202egnp"),
        ("a\nb\x9b", "a\\nb\\x9b"),
        (os.fsdecode(b"caf\xe9"), "caf\\udce9"),
    ],
)
def test_what_cannot_be_printed_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
    shown.encode()
