"""What an adapter of pretrained weights is."""

from __future__ import annotations

import abc
from typing import ClassVar

from nas.models.pretrained.assignment import Assignment
from nas.models.pretrained.state_dicts import StateDict


class WeightSource(abc.ABC):
    """Lays one kind of file onto a genome's units; made without arguments.

    Its line stands in `SOURCES`. A new one has `title`, `accepts`, `recognises` and `assign`.

    Attributes:
        title: what such a file is, "torchvision's SSDlite".
        accepts: the files that it is meant for, for the refusal of all others.
    """

    title: ClassVar[str]
    accepts: ClassVar[str]

    @abc.abstractmethod
    def recognises(self, file: StateDict) -> bool:
        """Tells whether a file is of this kind, by the names of its tensors."""

    @abc.abstractmethod
    def assign(self, file: StateDict, assignment: Assignment) -> str:
        """Assigns layers of the file to modules of the model.

        Args:
            file: that `recognises` said yes to.
            assignment: knows the model, compares layers with its modules, and collects.

        Returns:
            Which of the model's tensors the file hasn't, for people; empty where it has all.

        Raises:
            RunError: made by `assignment.refusal`, where the file doesn't fit.
        """

    def describe(self, file: StateDict) -> str:
        """Returns what a file is, for people; by default the title."""
        return self.title
