"""What changed between the start of a run and now, in words that a user knows."""

from __future__ import annotations

from typing import Any

import pytest

from nas.changes import change, contrast, differences

FIT, OTHER = "b9bf" * 8, "01ab" * 8
BEFORE = {
    "seed": 0,
    "space": {"name": "spinenet"},
    "evaluator": {"fit": FIT, "holdout": FIT, "settings": {"recipe": {"lr": 0.1}}},
}


def changed(**values: Any) -> dict[str, Any]:
    return {**BEFORE, **values}


@pytest.mark.parametrize(
    ("now", "clause"),
    [
        (BEFORE, None),
        (changed(seed=1), "the seed was 0 when this run began and is now 1"),
        (
            changed(evaluator={**BEFORE["evaluator"], "fit": OTHER}),  # type: ignore[dict-item]
            "the data, or how the hold-out is drawn, changed since this run began",
        ),
        (  # another seed draws another hold-out
            changed(seed=1, evaluator={**BEFORE["evaluator"], "fit": OTHER}),  # type: ignore[dict-item]
            "the seed was 0 when this run began and is now 1",
        ),
        (
            changed(evaluator={"fit": OTHER, "holdout": FIT, "settings": {"recipe": {"lr": 0.2}}}),
            "proxy.recipe.lr was 0.1 when this run began and is now 0.2",
        ),
        (changed(stopping=[1]), 'stopping was "absent" when this run began and is now [1]'),
    ],
)
def test_a_change_is_named(now: Any, clause: str | None) -> None:
    assert change(BEFORE, now) == clause


def test_the_training_s_own_words() -> None:
    before = {"data": FIT, "genome": FIT, "seed": 0}
    clause = change(before, {**before, "data": OTHER}, "this training began")
    assert clause == "the data changed since this training began"
    clause = change(before, {**before, "data": OTHER, "genome": OTHER}, "this training began")
    assert clause == "the architecture changed since this training began"


def test_two_runs_in_contrast() -> None:
    assert contrast(BEFORE, BEFORE) is None
    assert contrast(BEFORE, changed(seed=3)) == "the seed is 0 there and 3 here"
    other = changed(evaluator={**BEFORE["evaluator"], "fit": OTHER})  # type: ignore[dict-item]
    assert contrast(BEFORE, other) == "the data, or how the hold-out is drawn, is another there"


def test_differences_are_in_the_order_of_their_names() -> None:
    found = list(differences({"b": 1, "a": {"y": 1}}, {"b": 2, "a": {"x": 1}}))
    assert found == [("a.x", "absent", 1), ("a.y", 1, "absent"), ("b", 1, 2)]
