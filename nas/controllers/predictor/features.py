"""Codes as numbers for a model of rewards."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from nas.controllers.predictor.gaussian_process import Points
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
            (places, len(space.decisions[places[0]].choices))
            for places in alike.values()
            if len(places) > 1
        ]
        self._names: dict[tuple[str, ...], tuple[str, ...]] = {}
        self.features = lru_cache(maxsize=8192)(self._features)

    def _features(self, code: Code) -> tuple[tuple[str, ...], Any]:
        """Names and (P,) values; a code without a candidate is known by its decisions alone."""
        try:
            features = self._space.features(self._space.decode(code))
        except GenomeError:
            features = {}
        names = tuple(sorted(features))
        values = np.array([features[name] for name in names], dtype=float)
        # Candidates share one tuple, which is quick to compare.
        return self._names.setdefault(names, names), np.where(np.isfinite(values), values, math.nan)

    def choices(self, codes: Sequence[Code]) -> Any:
        """Returns codes as (N, T) integers."""
        shape = len(codes), len(self._space.decisions)
        return np.array(codes, dtype=np.int32).reshape(shape)

    def numbers(self, codes: Sequence[Code], names: tuple[str, ...]) -> Any:
        """Returns counts and named features as (N, P) numbers, NaN where there is none."""
        taken = self.choices(codes)
        counts = [
            (taken[:, places, None] == np.arange(choices)).sum(1, dtype=float)
            for places, choices in self._counted
        ]
        named = np.full((len(codes), len(names)), math.nan)
        for line, (own, values) in zip(named, map(self.features, codes), strict=True):
            if own != names:
                known = dict(zip(own, values, strict=True))
                values = [known.get(name, math.nan) for name in names]
            line[:] = values
        return np.concatenate([*counts, named], axis=1)


class Scaling:
    """Brings features to mean 0 and deviation 1 over some codes; what doesn't vary is left out."""

    def __init__(self, encoding: Encoding, codes: Sequence[Code]) -> None:
        self._encoding = encoding
        told = {encoding.features(code)[0] for code in codes}
        self._names = tuple(sorted({name for names in told for name in names}))
        numbers = encoding.numbers(codes, self._names)
        known = ~np.isnan(numbers)
        count = np.maximum(known.sum(0), 1)
        self._mean = np.where(known, numbers, 0.0).sum(0) / count
        off = np.where(known, numbers - self._mean, 0.0)
        self._deviation = np.sqrt((off**2).sum(0) / count)
        self._varies = self._deviation > 1e-9 * np.maximum(np.abs(self._mean), 1.0)

    def points(self, codes: Sequence[Code]) -> Points:
        """Returns codes as the model sees them; a number that is missing is taken as the mean."""
        columns = self._varies
        numbers = self._encoding.numbers(codes, self._names)[:, columns]
        scaled = (numbers - self._mean[columns]) / self._deviation[columns]
        return Points(self._encoding.choices(codes), np.nan_to_num(scaled))
