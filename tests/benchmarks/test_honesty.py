"""A small version of the controls: what is not there is not found, what is there is."""

from dataclasses import replace

import pytest

from benchmarks.honesty import CONTROLS, Control, most_false, run
from rnn_core.config import Training

FAST = Training(dtype="float32", seeds=2, epochs=12, patience=4)
BY_NAME = {control.name: control for control in CONTROLS}


@pytest.mark.parametrize("control", [BY_NAME["null"], BY_NAME["drift"]], ids=["null", "drift"])
def test_no_skill_is_found_where_there_is_none(control: Control) -> None:
    tags, _, days = run(replace(control, series=6), FAST)
    assert tags["skill"] <= most_false(6) == 2
    assert tags["inconclusive"] == 0
    assert days >= 1100


def test_skill_is_found_where_it_was_planted() -> None:
    tags, accuracy, _ = run(replace(BY_NAME["planted"], series=3), FAST)
    assert tags == {"skill": 3}
    assert accuracy >= 0.56


def test_the_bound_on_false_finds_is_that_of_the_binomial() -> None:
    assert most_false(200) == 16
