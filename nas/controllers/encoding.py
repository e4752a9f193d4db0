"""Codes as numbers for a model of rewards."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from nas.controllers.gaussian_process import Points
from nas.errors import GenomeError
from nas.space import Code, Space


class Encoding:
    """The features of a space's candidates, with how often each choice is taken.

    Decisions that have the same choices count together: two of three layers with kernel 5 are two,
    whichever they are.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        alike: defaultdict[str, list[int]] = defaultdict(list)
        for place, decision in enumerate(space.decisions):
            alike[repr(decision.choices)].append(place)
        self._counted = [
            (place_list, choice)
            for place_list in alike.values()
            if len(place_list) > 1
            for choice in range(len(space.decisions[place_list[0]].choices))
        ]
        self.row = lru_cache(maxsize=8192)(self._row)

    def _row(self, code: Code) -> tuple[float, ...]:
        counts = [float(sum(code[t] == choice for t in places)) for places, choice in self._counted]
        try:
            features = self._space.features(self._space.decode(code))
        except GenomeError:  # a code without a candidate is known by its decisions alone
            return (*counts,)
        return (*counts, *(features[name] for name in sorted(features)))


class Scaling:
    """Brings features to mean 0 and deviation 1 over some codes; what doesn't vary is left out."""

    def __init__(self, encoding: Encoding, codes: Sequence[Code]) -> None:
        self._encoding = encoding
        self._width = max(len(encoding.row(code)) for code in codes)
        raw = self._raw(codes)
        self._mean = np.nanmean(raw, axis=0)
        self._deviation = np.nanstd(raw, axis=0)
        self._varies = self._deviation > 1e-9

    def points(self, codes: Sequence[Code]) -> Points:
        """Returns codes as the model sees them; a number that is missing is taken as the mean."""
        columns = self._varies
        rows = (self._raw(codes) - self._mean)[:, columns] / self._deviation[columns]
        shape = len(codes), -1 if codes else 0
        return Points(np.array(codes, dtype=np.int32).reshape(shape), np.nan_to_num(rows))

    def _raw(self, codes: Sequence[Code]) -> Any:
        raw = np.full((len(codes), self._width), math.nan)
        for line, code in zip(raw, codes, strict=True):
            row = self._encoding.row(code)
            line[: len(row)] = row[: self._width]
        return raw
