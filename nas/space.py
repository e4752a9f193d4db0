"""Search spaces: ordered decisions, the legal choices after a prefix, and their candidates.

A controller sees a space only through its `decisions` and `legal`; it answers with a `Code`, the
index of the choice taken at each decision. `decode` turns a code into the candidate that an
evaluator trains. `ChoiceSpace` is the plain product of named choices.
"""

from __future__ import annotations

import abc
import hashlib
import itertools
import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nas.errors import ConfigError, GenomeError

Code = tuple[int, ...]
"""The index of the choice taken at each decision, in the order of the decisions."""

COUNTED = 1_000_000
"""The most codes that `Space.size` walks."""


@dataclass(frozen=True)
class Decision:
    """One ordered choice of a space."""

    name: str
    choices: tuple[Any, ...]


class Space(abc.ABC):
    """The candidates of a search: a fixed, ordered list of decisions with a mask at each.

    After any legal prefix at least one choice is legal, so that a walk never ends early.
    """

    name: str
    decisions: tuple[Decision, ...]

    @abc.abstractmethod
    def legal(self, prefix: Sequence[int]) -> tuple[bool, ...]:
        """Returns the mask over `decisions[len(prefix)].choices` after a legal prefix.

        Args:
            prefix: The first entries of a code; fewer than there are decisions.
        """

    @abc.abstractmethod
    def decode(self, code: Sequence[int]) -> Any:
        """Returns the candidate of a complete code.

        Raises:
            GenomeError: if the code is not legal.
        """

    @abc.abstractmethod
    def encode(self, candidate: Any) -> Code:
        """Returns the candidate's code, the first in lexical order where several exist."""

    @abc.abstractmethod
    def key(self, candidate: Any) -> str:
        """Returns a stable name that is equal for, and only for, the same candidate."""

    def features(self, candidate: Any) -> dict[str, float]:
        """Returns numbers that describe the candidate to a surrogate of rewards.

        By default they are read off its code: a column for a decision on numbers, for any other a
        column per choice.
        """
        columns: dict[str, float] = {}
        for decision, chosen in zip(self.decisions, self.encode(candidate), strict=True):
            if all(isinstance(choice, int | float) for choice in decision.choices):
                columns[decision.name] = float(decision.choices[chosen])
            else:
                for index, choice in enumerate(decision.choices):
                    columns[f"{decision.name}={choice}"] = float(index == chosen)
        return columns

    def size(self) -> int:
        """Returns the number of legal complete codes.

        By default they are walked one by one.

        Raises:
            ConfigError: if there are over a million; such a space has to count them itself.
        """
        count = sum(1 for _ in itertools.islice(self.codes(), COUNTED + 1))
        if count > COUNTED:
            raise ConfigError(
                f"space {self.name}: over {COUNTED} codes can't be walked; give it its own size()"
            )
        return count

    @abc.abstractmethod
    def describe(self) -> dict[str, Any]:
        """Returns a JSON-able description, equal if and only if the space is equal."""

    def contains(self, candidate: Any) -> bool:
        """Tells whether the candidate can be reached by a legal code."""
        try:
            return self.key(self.decode(self.encode(candidate))) == self.key(candidate)
        except (GenomeError, KeyError, TypeError, ValueError):
            return False

    def check(self, code: Sequence[int]) -> None:
        """Raises a GenomeError that names the first decision at which the code isn't legal."""
        if len(code) != len(self.decisions):
            raise GenomeError(
                f"space {self.name}: a code has {len(self.decisions)} entries, this has {len(code)}"
            )
        for position, (decision, index) in enumerate(zip(self.decisions, code, strict=True)):
            mask = self.legal(code[:position])
            if not (0 <= index < len(mask) and mask[index]):
                allowed = [i for i, is_legal in enumerate(mask) if is_legal]
                raise GenomeError(
                    f"space {self.name}: decision {decision.name!r} has choice {index}, "
                    f"legal here are {allowed}"
                )

    def sample_code(self, rng: random.Random) -> Code:
        """Draws a code, uniformly at each decision over what is legal there."""
        code: list[int] = []
        for _ in self.decisions:
            mask = self.legal(code)
            code.append(rng.choice([i for i, is_legal in enumerate(mask) if is_legal]))
        return tuple(code)

    def sample(self, rng: random.Random) -> Any:
        """Draws a candidate as `sample_code` draws its code."""
        return self.decode(self.sample_code(rng))

    def codes(self, prefix: Code = ()) -> Iterator[Code]:
        """Walks every legal complete code in lexical order."""
        if len(prefix) == len(self.decisions):
            yield prefix
            return
        for index, is_legal in enumerate(self.legal(prefix)):
            if is_legal:
                yield from self.codes((*prefix, index))


class ChoiceSpace(Space):
    """The product of named choices; a candidate is a dict from name to choice.

    Example:
        >>> space = ChoiceSpace({"depth": [2, 3, 4], "norm": ["batch", "group"]})
        >>> space.decode((1, 0))
        {'depth': 3, 'norm': 'batch'}
    """

    name = "choices"

    def __init__(self, choices: Mapping[str, Sequence[Any]]) -> None:
        """Makes a space of these decisions, each with its choices.

        Raises:
            ConfigError: if there is none, or a decision has no choice or two equal ones.
        """
        if not choices:
            raise ConfigError("ChoiceSpace: no decision was given; one name with choices is needed")
        for name, options in choices.items():
            tags = [(type(option), _text(option)) for option in options]
            if not tags or len(set(tags)) != len(tags):
                raise ConfigError(
                    f"ChoiceSpace: {name!r} has choices {list(options)!r}; at least one is needed, "
                    "and no two may be equal"
                )
        self.decisions = tuple(Decision(name, tuple(opts)) for name, opts in choices.items())

    def legal(self, prefix: Sequence[int]) -> tuple[bool, ...]:
        """Returns a mask that allows every choice."""
        return (True,) * len(self.decisions[len(prefix)].choices)

    def decode(self, code: Sequence[int]) -> dict[str, Any]:
        """Returns the choices of a code, by the names of their decisions."""
        self.check(code)
        return {d.name: d.choices[index] for d, index in zip(self.decisions, code, strict=True)}

    def encode(self, candidate: Mapping[str, Any]) -> Code:
        """Returns the code of a choice for each decision.

        Raises:
            GenomeError: if a decision is missing, or a choice isn't one of its.
        """
        names = [decision.name for decision in self.decisions]
        if set(candidate) != set(names):
            raise GenomeError(
                f"space {self.name}: a candidate has {names}, this has {sorted(candidate)}"
            )
        return tuple(self._index(decision, candidate[decision.name]) for decision in self.decisions)

    def key(self, candidate: Mapping[str, Any]) -> str:
        """Returns 16 hexadecimal digits of the SHA-256 of the candidate's JSON."""
        return hashlib.sha256(_text(dict(candidate)).encode()).hexdigest()[:16]

    def size(self) -> int:
        """Returns the product of the numbers of choices."""
        return math.prod(len(decision.choices) for decision in self.decisions)

    def describe(self) -> dict[str, Any]:
        """Returns the names of the decisions and their choices, in order."""
        listed = [[d.name, [json.loads(_text(c)) for c in d.choices]] for d in self.decisions]
        return {"name": self.name, "decisions": listed}

    def _index(self, decision: Decision, value: Any) -> int:
        """Returns the place of a choice in its decision."""
        # 1, 1.0 and True are equal in Python, and different choices here.
        for index, choice in enumerate(decision.choices):
            if type(choice) is type(value) and choice == value:
                return index
        raise GenomeError(
            f"space {self.name}: {decision.name!r} is {value!r}, legal are {decision.choices!r}"
        )


def _text(value: Any) -> str:
    """Returns a choice as JSON, by its `repr` where it has none."""
    return json.dumps(value, sort_keys=True, default=repr)
