"""What is wrong in a data folder, row by row."""

from __future__ import annotations

from dataclasses import dataclass

from nas.errors import printable

ESCAPE = "path out of the folder"


@dataclass(frozen=True)
class Problem:
    """Something in a data folder that can't be used, or that is probably not what was meant.

    Attributes:
        kind: What it is, in words by which problems are counted.
        file: The annotation file, from the data folder on.
        subject: The row or picture.
        detail: What was met there.
        left_out: Whether the row or picture is used for nothing; False for a note, such as that
            of a size which isn't the file's: what it names is used all the same.
    """

    kind: str
    file: str
    subject: str
    detail: str = ""
    left_out: bool = True

    def __str__(self) -> str:
        return f"{self.file}: {self.kind}: {self.subject}" + (
            f" ({self.detail})" if self.detail else ""
        )


class Problems(list[Problem]):
    """The problems of one annotation file, in the order in which they were met."""

    def __init__(self, file: str) -> None:
        super().__init__()
        self.file = file

    def note(self, kind: str, subject: str, detail: object = "", *, left_out: bool = True) -> None:
        """Takes down a problem, or with `left_out` False a note; each is one line."""
        lines = (printable(kind), self.file, printable(subject), printable(str(detail)))
        self.append(Problem(*lines, left_out))
