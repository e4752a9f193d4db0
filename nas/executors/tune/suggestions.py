"""A controller for a program that owns its trials, such as Ray Tune, and names them itself.

Only the order of events is kept, as JSON; a search goes on by absorbing them again. A study keeps
more, a row per trial, since there the trials are the toolkit's.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, ValidationError

from nas.changes import change
from nas.controllers import ControllerSettings, make_controller
from nas.errors import GenomeError, RunError, one_line
from nas.files import write_text
from nas.settings import Settings
from nas.space import Code, Space
from nas.study.proposals import DRAWS, ENUMERABLE, REPEATS, Source
from nas.study.store import plain
from nas.validation import first_problem


class Asked(Settings):
    """A candidate was given out; its number is its place among these events.

    Attributes:
        trial: The trial that runs it; None for a repeat, which is answered at once.
        source: "uniform" for a draw in the place of a controller that had nothing new.
    """

    event: Literal["asked"] = "asked"
    trial: str | None
    source: Source
    code: Code


class Told(Settings):
    """A candidate had a result; the reward is None if it is infeasible."""

    event: Literal["told"] = "told"
    number: NonNegativeInt
    reward: Annotated[float, Field(allow_inf_nan=False)] | None


class Withdrawn(Settings):
    """A candidate will have no result."""

    event: Literal["withdrawn"] = "withdrawn"
    number: NonNegativeInt


Event = Annotated[Asked | Told | Withdrawn, Field(discriminator="event")]


class State(Settings):
    """A saved search.

    Attributes:
        settings: Those that may not change while it goes on.
        events: All of them, in their order.
    """

    version: Literal[1] = 1
    settings: dict[str, Any]
    events: tuple[Event, ...]


class Suggestions:
    """A controller with the events so far, from which its next suggestion follows.

    Attributes:
        events: All of them, in their order.
        running: The candidate's number of each trial that has no result yet.
    """

    def __init__(
        self,
        space: Space,
        controller: ControllerSettings,
        seed: int,
        identity: Mapping[str, Any],
        events: Iterable[Event] = (),
    ) -> None:
        """Begins a search, or goes on after events.

        Args:
            space: What is searched.
            controller: The controller's name and options.
            seed: Of the controller's random draws, and of the uniform ones.
            identity: Further settings that may not change while the search goes on.
            events: What has happened so far, in its order.

        Raises:
            ConfigError: if the controller or one of its options is unknown.
        """
        self.events: list[Event] = []
        self.running: dict[str | None, int] = {}
        self._arguments = (space, controller, seed, dict(identity))
        self._space, self._seed = space, seed
        self._controller = make_controller(controller, space, seed)
        self._count = 0
        self._open: dict[int, Asked] = {}
        self._keys: set[str] = set()
        self._rewards: dict[str, float | None] = {}  # by key
        self._worst: float | None = None
        for event in events:
            self._absorb(event)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the arguments and events only; Tune pickles all that it holds."""
        return type(self), (*self._arguments, tuple(self.events))

    def ask(self, trial: str) -> Any:
        """Returns a candidate that no trial had before; None if there is none.

        Args:
            trial: Tune's id of the trial that will run it.
        """
        self._answer_repeats()
        for code, source in self._drawn():
            try:
                is_new = self._key(code) not in self._keys
            except GenomeError:  # a space may refuse a code
                continue
            if is_new:
                self._absorb(Asked(trial=trial, source=source, code=code))
                return self._space.decode(code)
        return None

    def tell(self, trial: str, reward: float | None) -> None:
        """Takes the result of a running trial.

        Args:
            trial: Tune's id of it.
            reward: More is better; None for an infeasible candidate. One that isn't finite counts
                as the worst so far, and as no result if there is none.
        """
        if reward is not None and not math.isfinite(reward):
            if self._worst is None:
                return self.withdraw(trial)
            reward = self._worst
        return self._absorb(Told(number=self.running[trial], reward=reward))

    def withdraw(self, trial: str) -> None:
        """Takes back the candidate of a running trial that will have no result."""
        self._absorb(Withdrawn(number=self.running[trial]))

    def save(self, path: Path) -> None:
        """Writes the settings and events as JSON."""
        state = State(settings=self._describe(), events=tuple(self.events))
        write_text(path, state.model_dump_json())

    def restored(self, path: Path) -> Suggestions:
        """Returns the search that was saved, if it has this one's settings.

        Args:
            path: Where it was saved.

        Raises:
            RunError: if it has other settings, with what changed, or the file can't be read.
        """
        state = _read(path)
        if changed := change(state.settings, self._describe(), "this search began"):
            raise RunError(f"{path}: {changed}; restore it, or begin a new search")
        try:
            return Suggestions(*self._arguments, state.events)
        except (GenomeError, LookupError) as error:
            raise RunError(f"{path}: damaged, begin a new search ({error})") from error

    def _describe(self) -> dict[str, Any]:
        """Returns the settings that may not change while the search goes on, as JSON values."""
        *_, identity = self._arguments
        described = {
            **{f"space.{name}": value for name, value in self._space.describe().items()},
            **{f"controller.{name}": value for name, value in self._controller.describe().items()},
            "seed": self._seed,
            **identity,
        }
        return plain(described)

    # Candidates

    def _answer_repeats(self) -> None:
        """Tells a controller that learns from repeats their known result, as a study does.

        A converging policy mostly proposes what it had before; each time it learns the reward
        again, without a trial, until it proposes something new or `REPEATS` are used up.
        """
        for _ in range(REPEATS if self._controller.repeats else 0):
            code = self._controller.propose(self._count)
            try:
                key = self._key(code)
            except GenomeError:
                return
            if key not in self._rewards:
                return
            self._absorb(Asked(trial=None, source="controller", code=code))
            self._absorb(Told(number=self._count - 1, reward=self._rewards[key]))

    def _drawn(self) -> Iterator[tuple[Code, Source]]:
        """Yields what may be next: the controller's draws, uniform ones, all of a small space."""
        number = self._count
        for draw in range(DRAWS):
            yield self._controller.propose(number, draw), "controller"
        for draw in range(DRAWS):
            rng = random.Random(f"{self._seed}/uniform/{number}/{draw}")
            yield self._space.sample_code(rng), "uniform"
        if self._space.size() <= ENUMERABLE:
            for code in self._space.codes():
                yield code, "uniform"

    def _key(self, code: Code) -> str:
        """Returns the key of a code's candidate.

        Raises:
            GenomeError: if the space refuses the code.
        """
        return self._space.key(self._space.decode(code))

    # Events

    def _absorb(self, event: Event) -> None:
        """Takes in one event, live or recorded.

        All state follows from the events in their order, and changes nowhere else: absorbed again,
        they leave a controller that draws the same codes next.

        Raises:
            GenomeError: if the code isn't one of the space.
            LookupError: if no candidate of this number waits for its result.
        """
        if isinstance(event, Asked):
            self._keys.add(self._key(event.code))
            self._open[self._count] = event
            if event.trial is not None:
                self.running[event.trial] = self._count
            if event.source == "controller":
                self._controller.asked(self._count, event.code)
            self._count += 1
        else:
            if event.number not in self._open:
                raise LookupError(f"candidate {event.number} waits for no result")
            proposal = self._open.pop(event.number)
            self.running.pop(proposal.trial, None)
            if isinstance(event, Told):
                self._tell(event, proposal)
            elif proposal.source == "controller":
                self._controller.withdraw(event.number, proposal.code)
        self.events.append(event)

    def _tell(self, event: Told, proposal: Asked) -> None:
        """Tells the controller a result of its own proposal, or lets it observe another's."""
        reward, excess = event.reward, 1.0 if event.reward is None else 0.0
        self._rewards[self._key(proposal.code)] = reward
        if reward is not None:
            self._worst = reward if self._worst is None else min(self._worst, reward)
        if proposal.source == "controller":
            self._controller.tell(event.number, proposal.code, reward, excess)
        else:
            self._controller.observe(proposal.code, reward, excess)


def _read(path: Path) -> State:
    """Reads a saved search.

    Raises:
        RunError: if the file can't be read, or is none.
    """
    try:
        return State.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        reason = str(first_problem(error))
    except (OSError, ValueError, RecursionError) as error:
        reason = one_line(error)
    raise RunError(f"{path}: this is no saved search ({reason[:200]}); name a file that was saved")
