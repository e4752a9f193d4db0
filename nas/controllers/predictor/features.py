"""Codes as numbers for a surrogate."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from nas.controllers.predictor.gaussian_process import Floats, Points
from nas.errors import GenomeError
from nas.space import Code, Space


class Encoding:
    """The features of a space's candidates, with how often each choice is taken.

    Decisions that have the same choices count together: two of three layers with kernel 5 are two,
    whichever they are.
    """

    def __init__(self, space: Space) -> None:
        """Groups the decisions that have the same choices."""
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

    def _features(self, code: Code) -> tuple[tuple[str, ...], Floats]:
        """Returns names and (P,) values; none for a code without a candidate."""
        try:
            features = self._space.features(self._space.decode(code))
        except GenomeError:
            features = {}
        names = tuple(sorted(features))
        values = np.array([features[name] for name in names], dtype=float)
        # Candidates share one tuple, which is quick to compare.
        return self._names.setdefault(names, names), np.where(np.isfinite(values), values, math.nan)

    def choices(self, codes: Sequence[Code]) -> NDArray[np.int32]:
        """Returns codes as (N, T) integers."""
        shape = len(codes), len(self._space.decisions)
        return np.array(codes, dtype=np.int32).reshape(shape)

    def numbers(self, codes: Sequence[Code], names: tuple[str, ...]) -> Floats:
        """Returns counts and named features as (N, P) numbers, NaN where there is none."""
        choices = self.choices(codes)
        # For each group of decisions, how many of them take its first choice, its second, ...
        counts = [
            (choices[:, places, None] == np.arange(count)).sum(1, dtype=float)
            for places, count in self._counted
        ]
        # Spaces may give candidates different features: values go by name.
        named = np.full((len(codes), len(names)), math.nan)
        for line, (own, values) in zip(named, map(self.features, codes), strict=True):
            if own != names:
                by_name = dict(zip(own, values, strict=True))
                values = np.array([by_name.get(name, math.nan) for name in names])
            line[:] = values
        return np.concatenate([*counts, named], axis=1)


class Standardize:
    """Brings features to mean 0 and deviation 1 over some codes; what doesn't vary is left out."""

    def __init__(self, encoding: Encoding, codes: Sequence[Code]) -> None:
        """Takes means and deviations, each over the codes that have the feature."""
        self._encoding = encoding
        kinds = {encoding.features(code)[0] for code in codes}
        self._names = tuple(sorted({name for names in kinds for name in names}))
        numbers = encoding.numbers(codes, self._names)
        is_there = ~np.isnan(numbers)
        count = np.maximum(is_there.sum(0), 1)
        self._mean = np.where(is_there, numbers, 0.0).sum(0) / count
        off = np.where(is_there, numbers - self._mean, 0.0)
        self._deviation = np.sqrt((off**2).sum(0) / count)
        self._varies = self._deviation > 1e-9 * np.maximum(np.abs(self._mean), 1.0)

    def points(self, codes: Sequence[Code]) -> Points:
        """Returns codes as a surrogate sees them; a number that is missing is taken as the mean."""
        columns = self._varies
        numbers = self._encoding.numbers(codes, self._names)[:, columns]
        scaled = (numbers - self._mean[columns]) / self._deviation[columns]
        return Points(self._encoding.choices(codes), np.nan_to_num(scaled))
