"""The model behind the default controller: what it learns from, and how quickly."""

from __future__ import annotations

import random
import statistics
import time

import numpy as np
import pytest

from nas.controllers.base import Stop
from nas.controllers.predictor.acquisition import acquisition
from nas.controllers.predictor.controller import Predictor
from nas.controllers.predictor.gaussian_process import (
    Distances,
    GPRegressor,
    Kernel,
    Points,
    Posterior,
)
from nas.controllers.predictor.observations import Observation, OutputTransform
from nas.controllers.predictor.surrogate import Prediction
from nas.space import ChoiceSpace, Code


def product(decisions: int, choices: int) -> ChoiceSpace:
    """Choices without an order, so that each is a feature of its own."""
    return ChoiceSpace({f"l{t}": [f"c{i}" for i in range(choices)] for t in range(decisions)})


def ones(code: Code) -> int:
    """A uniform draw of 8 decisions with 3 choices has 8/3 of them, with a deviation of 1.33."""
    return sum(choice == 1 for choice in code)


def proposals(predictor: Predictor, count: int) -> list[Code]:
    """A batch, without a result between."""
    codes = []
    for number in range(10_000, 10_000 + count):
        codes.append(predictor.propose(number))
        predictor.asked(number, codes[-1])
    return codes


@pytest.mark.parametrize("outlier", [1e9, -1e9])
def test_one_absurd_reward_does_not_hide_the_others(outlier: float) -> None:
    space, rng = product(8, 3), random.Random(0)
    predictor = Predictor(space, 0)
    for number in range(60):
        code = space.sample_code(rng)
        predictor.observe(code, outlier if number == 30 else float(ones(code)))
    found = []
    for number in range(60, 100):  # it may look around the absurd one first
        code = predictor.propose(number)
        predictor.asked(number, code)
        predictor.tell(number, code, float(ones(code)))
        found.append(ones(code))
    assert max(found) == 8 and statistics.fmean(found[20:]) > 5


def test_results_that_are_all_equal_leave_distinct_proposals() -> None:
    space, rng = product(8, 3), random.Random(0)
    predictor = Predictor(space, 0)
    for _ in range(40):
        predictor.observe(space.sample_code(rng), 0.25)
    assert len(set(proposals(predictor, 20))) == 20


def test_many_results_of_one_candidate() -> None:
    space, rng = product(8, 3), random.Random(0)
    predictor = Predictor(space, 0)
    for _ in range(30):
        predictor.observe((0,) * 8, rng.random())
    codes = proposals(predictor, 10)
    assert len(set(codes)) == 10 and (0,) * 8 not in codes


@pytest.mark.parametrize("is_graded", [True, False])
def test_it_learns_what_is_infeasible(is_graded: bool) -> None:
    """Nine in ten codes are over a limit, and the best are right below it."""
    space, is_over = product(8, 3), []
    for seed in range(2):
        rng = random.Random(seed)
        prices = [[rng.random() for _ in range(3)] for _ in range(8)]
        drawn = [space.sample_code(rng) for _ in range(1000)]
        sums = [sum(row[c] for row, c in zip(prices, code, strict=True)) for code in drawn]
        limit = sorted(sums)[100]
        predictor = Predictor(space, seed)
        for number in range(50):
            code = predictor.propose(number)
            predictor.asked(number, code)
            price = sum(row[c] for row, c in zip(prices, code, strict=True))
            if price > limit:
                predictor.tell(number, code, None, price / limit - 1 if is_graded else 1.0)
            else:
                predictor.tell(number, code, price)
            if number >= 20:
                is_over.append(price > limit)
    assert statistics.fmean(is_over) < 0.6


def test_how_far_over_the_limit_leads_to_the_first_feasible_one() -> None:
    """One code in 6,561 is within the limit; every other one tells how far it is off."""
    found = []
    for seed in range(3):
        predictor = Predictor(product(8, 3), seed)
        for number in range(60):
            code = predictor.propose(number)
            predictor.asked(number, code)
            if ones(code) == 8:
                found.append(number)
                break
            predictor.tell(number, code, None, (8 - ones(code)) / 8)
    assert len(found) == 3


def test_it_learns_from_trials_that_were_stopped() -> None:
    """Two in three are stopped at their first report, which says half of what the end would."""
    space, rng = product(8, 3), random.Random(0)
    predictor = Predictor(space, 0)
    for number in range(60):
        code = space.sample_code(rng)
        end = ones(code) + rng.gauss(0, 0.1)
        if number % 3:
            predictor.stop(None, Stop(code, (end / 2,), 0.2))
        else:
            predictor.reports(code, (end / 2, end))
            predictor.observe(code, end)
    assert statistics.fmean(map(ones, proposals(predictor, 20))) > 5


def test_what_was_withdrawn_once_may_be_proposed_again_but_not_for_ever() -> None:
    predictor = Predictor(product(1, 12), 0)
    for choice in range(11):
        predictor.observe((choice,), float(choice))
    for _ in range(2):
        (code,) = proposals(predictor, 1)
        assert code == (11,)
        predictor.withdraw(10_000, code)
    # It isn't what looks best any more; a uniform draw may still find it.
    drawn = {predictor.propose(number) for number in range(20, 30)}
    assert drawn != {(11,)}


def points(rng: np.random.Generator, count: int) -> Points:
    return Points(rng.integers(0, 3, (count, 6)), rng.standard_normal((count, 4)))


def test_later_values_change_the_posterior_as_if_they_had_been_there_before() -> None:
    """Conditioning in two steps against one inverse of all; a pending value leaves the mean."""
    rng = np.random.default_rng(0)
    kernel = Kernel.draw(rng)
    first, later, new = points(rng, 30), points(rng, 5), points(rng, 7)
    everything = Points(
        np.concatenate([first.codes, later.codes]),
        np.concatenate([first.features, later.features]),
    )
    values, noises = rng.standard_normal(35), rng.random(35)

    def process(where: Points, count: int) -> GPRegressor:
        return GPRegressor(
            where, Distances.between(where, where), values[:count], noises[:count], kernel
        )

    small, large = process(first, 30), process(everything, 35)
    mean, deviation = Posterior(small, new).conditioned(later, values[30:], noises[30:])
    nothing = Points(np.zeros((0, 6), int), np.zeros((0, 4)))
    at_once, narrow = Posterior(large, new).conditioned(nothing, np.zeros(0), np.zeros(0))
    assert mean == pytest.approx(at_once, abs=1e-4)
    assert deviation / small.scale**0.5 == pytest.approx(narrow / large.scale**0.5, abs=1e-4)
    before, wide = Posterior(small, new).conditioned(nothing, np.zeros(0), np.zeros(0))
    pending = np.full(5, np.nan)
    unchanged, as_narrow = Posterior(small, new).conditioned(later, pending, noises[30:])
    assert unchanged == pytest.approx(before) and as_narrow == pytest.approx(deviation)
    assert (as_narrow < wide).all()


def test_the_process_is_the_textbook_s() -> None:
    """Two points that share nothing but half of their decisions, by hand."""
    kernel = Kernel(np.array([1.0, 0.0, 0.0, 0.0]), 1.0, 1.0, 0.5)
    where = Points(np.array([[0, 0], [0, 1]]), np.zeros((2, 0)))
    far = Distances.between(where, where)
    process = GPRegressor(where, far, np.array([1.0, -1.0]), np.zeros(2), kernel)
    # K + noise = [[1.5, 0.5], [0.5, 1.5]], so the weights are (1, -1) and the means half of them.
    assert process.weights == pytest.approx([1.0, -1.0])
    assert process.fitted == pytest.approx([0.5, -0.5])


def test_the_output_transform_keeps_order_and_draws_far_ones_nearer() -> None:
    rewards = [-1e9, 1.0, 2.0, 3.0, 4.0, 5.0, 1e9]
    values, noises = OutputTransform([Observation((0,), r) for r in rewards])(
        [*(Observation((0,), r) for r in rewards), Observation((0,), None)]
    )
    assert (np.diff(values[:-1]) > 0).all() and np.isnan(values[-1])
    assert values[:-1].mean() == pytest.approx(0) and values[:-1].std() == pytest.approx(1)
    assert values[5] - values[1] > 0.05 * (values[6] - values[0])
    assert (noises == 0).all()


def test_it_is_quick_with_two_thousand_results() -> None:
    space, rng = product(12, 4), random.Random(0)
    predictor = Predictor(space, 0)
    for number in range(2000):
        code = space.sample_code(rng)
        predictor.observe(code, None if number % 10 == 0 else sum(code) + rng.random(), 0.1)
    started = time.process_time()
    for number in range(2000, 2032):  # the model is fitted once in so many
        code = predictor.propose(number)
        predictor.asked(number, code)
        predictor.tell(number, code, float(sum(code)))
    assert (time.process_time() - started) / 32 < 0.1


def test_the_acquisition_is_a_bound_times_the_probability_of_being_feasible() -> None:
    """Bounds by hand, and the normal distribution's own probabilities."""
    means, deviations = np.array([0.0, 1.0, -9.0]), np.array([1.0, 0.5, 1.0])
    bounds = acquisition(Prediction((means, deviations), None), beta=2.0, lowest=-1.0)
    assert bounds == pytest.approx([3.0, 3.0, 1e-9])  # the last lies below the lowest value
    margins = np.array([0.0, 1.0, -2.0]), np.array([1.0, 1.0, 2.0])
    chances = acquisition(Prediction(None, margins), beta=2.0, lowest=0.0)
    normal = statistics.NormalDist()
    assert chances == pytest.approx([normal.cdf(z) for z in (0.0, 1.0, -1.0)], abs=0.01)
    both = acquisition(Prediction((means, deviations), margins), beta=2.0, lowest=-1.0)
    assert both == pytest.approx(bounds * chances)
