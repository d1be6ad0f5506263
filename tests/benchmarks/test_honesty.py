"""A small version of the controls: what is not there is not found, what is there is."""

from collections import Counter
from dataclasses import replace

import pytest

from benchmarks.honesty import CONTROLS, Control, Result, most_false, run
from rnn_core.config import Training

FAST = Training(dtype="float32", seeds=2, epochs=12, patience=4)
BY_NAME = {control.name: control for control in CONTROLS}


@pytest.mark.parametrize("control", [BY_NAME["null"], BY_NAME["drift"]], ids=["null", "drift"])
def test_no_skill_is_found_where_there_is_none(control: Control) -> None:
    assert run(replace(control, series=6), FAST).broken == []


def test_skill_is_found_where_it_was_planted() -> None:
    planted = replace(BY_NAME["planted"], series=3, least_accuracy=0.56)
    assert run(planted, FAST).broken == []


def test_the_bound_on_false_finds_is_that_of_the_binomial() -> None:
    assert most_false(200) == 16
    assert most_false(6) == 2


def test_each_bound_is_held_and_said() -> None:
    verdicts = Counter({"skill": 17, "no evidence of skill": 182, "inconclusive": 1})
    assert Result(BY_NAME["null"], verdicts, 0.5, 1187, 1.0).broken == [
        "null: skill in 17, at most 16 by chance",
        "null: 1 inconclusive",
    ]
    missed = Counter({"skill": 94, "no evidence of skill": 6})
    assert Result(BY_NAME["planted"], missed, 0.56, 1099, 1.0).broken == [
        "planted: skill in 94, at least 95 are asked",
        "planted: accuracy 0.560, 0.57 is asked",
        "planted: 1099 test days, 1100 are asked",
    ]
    allowed = Counter({"skill": 16, "no evidence of skill": 184})
    assert Result(BY_NAME["drift"], allowed, 0.55, 1100, 1.0).broken == []
