"""The interface of search algorithms.

A controller's state is a function of its seed, its settings and the events that it absorbed, in
their order: `asked`, `tell`, `observe`, `reports`, `stop`, `withdraw`. Nothing of it is pickled: a
run goes on by absorbing its recorded events again. A proposal is a function of that state and its
number.
"""

from __future__ import annotations

import abc
import random
from typing import Any, ClassVar, NamedTuple

from nas.settings import Settings
from nas.space import Code, Space


class NoSettings(Settings):
    """The settings of an algorithm that has none."""


class Controller(abc.ABC):
    """Proposes codes of a space, and learns from what becomes of them.

    Attributes:
        settings_type: its hyper-parameters.
        repeats: whether a proposal that was scored before is on-policy information; otherwise
            the study draws again.
    """

    settings_type: ClassVar[type[Settings]] = NoSettings
    repeats: ClassVar[bool] = False

    def __init__(self, space: Space, seed: int, settings: Any = None) -> None:
        """Begins before any event.

        Args:
            space: what is searched.
            seed: of the run.
            settings: of the type `settings_type`; None for the defaults.
        """
        self.space = space
        self.seed = seed
        self.settings = self.settings_type() if settings is None else settings

    def describe(self) -> dict[str, Any]:
        """Returns what may not change while a run goes on."""
        return {"name": type(self).__name__.lower(), **self.settings.model_dump(mode="json")}

    def generator(self, number: int, draw: int) -> random.Random:
        """Returns the random numbers of one proposal, the same whatever was drawn before."""
        return random.Random(f"{self.seed}/{number}/{draw}")

    @abc.abstractmethod
    def propose(self, number: int, draw: int = 0) -> Code:
        """Returns a legal code without changing any state.

        Args:
            number: the proposal's number in the run.
            draw: counts the tries for one number, where the study wants another code.
        """

    def asked(self, number: int, code: Code) -> None:
        """Absorbs that its proposal was taken up. A result may come late, or never."""

    @abc.abstractmethod
    def tell(self, number: int, code: Code, reward: float | None, excess: float = 0.0) -> None:
        """Absorbs the result of its own proposal, in any order.

        Args:
            number: the proposal's.
            code: what was proposed.
            reward: more is better; None for an infeasible candidate.
            excess: then how far over the limits it is, as a share of them; 1 if unknown.
        """

    @abc.abstractmethod
    def observe(self, code: Code, reward: float | None, excess: float = 0.0) -> None:
        """Absorbs the result of a code that it didn't propose, such as a uniform draw."""

    def reports(self, code: Code, curve: tuple[float, ...]) -> None:
        """Absorbs the rewards at a full trial's reports, right before its result is told.

        Only searches that stop trials early have them; by default nothing is learnt from them.
        """

    def stop(self, number: int | None, stop: Stop) -> None:
        """Absorbs that a trial was stopped early; by default, as an infeasible one.

        Args:
            number: of its own proposal; None for one that it didn't make.
            stop: how far the trial came.
        """
        if number is None:
            self.observe(stop.code, None, 1.0)
        else:
            self.tell(number, stop.code, None, 1.0)

    def withdraw(self, number: int, code: Code) -> None:
        """Absorbs that a proposal of its own will have no result."""


class Stop(NamedTuple):
    """A trial that was stopped, as a controller hears of it.

    Attributes:
        code: what was tried.
        curve: its rewards, report by report.
        rank: between 0 and 1, the share of the trials that reached its last rung which it beats,
            ties and itself by half.
    """

    code: Code
    curve: tuple[float, ...]
    rank: float
