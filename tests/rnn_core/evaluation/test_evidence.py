"""What is tested, against what, and which tests there are for few days."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from rnn_core.evaluation import names
from rnn_core.evaluation.baselines import Baselines
from rnn_core.evaluation.direction_tests import pesaran_timmermann, within_strata
from rnn_core.evaluation.evidence import (
    baseline_showings,
    calls_to_test,
    showing,
    significance_scores,
)
from rnn_core.evaluation.spending import nth_look
from rnn_core.nn.arrays import Array


def made(days: int, zeros: float, edge: float = 0.0, seed: int = 0) -> tuple[Any, Baselines]:
    """Calls that know the sign with probability ½ + edge, and returns of which some are 0."""
    rng = np.random.default_rng(seed)
    next_return = np.where(rng.random(days) < zeros, 0, rng.normal(size=days))
    up = (next_return > 0).astype(int)
    base = np.full(days, up.mean())
    knows = np.where(rng.random(days) < 0.5 + edge, up, 1 - up)
    probability = base + np.where(knows == 1, 0.04, -0.04)
    called = (probability > 0.5).astype(int)
    rule = rng.integers(0, 2, days)
    baselines = Baselines(
        probability={"majority": base, "persistence": base, "logistic": probability - 0.01}
        | {"boosting": probability},
        called={"majority": np.ones(days, int), "persistence": rule, "logistic": called}
        | {"boosting": called},
    )
    fold = np.arange(days) // 63
    calls = {"fold": fold, "probability": probability, "up": up, "next_return": next_return}
    return pd.DataFrame(calls), baselines


def scored(calls: Any, baselines: Baselines, number: int = 1) -> Any:
    return significance_scores(calls_to_test(calls, baselines), baselines, nth_look(number))


@pytest.mark.parametrize(("zeros", "many"), [(0.02, False), (0.2, True)])
def test_with_many_returns_of_zero_a_call_is_a_probability_above_the_base_rate(
    zeros: float, many: bool
) -> None:
    calls, baselines = made(1000, zeros)
    tested = calls_to_test(calls, baselines)
    probability = calls["probability"].to_numpy()
    threshold = baselines.probability["majority"] if many else 0.5
    np.testing.assert_array_equal(tested.called, probability > threshold)
    for name in ("logistic", "boosting"):
        expected = baselines.probability[name] > threshold
        np.testing.assert_array_equal(tested.baselines[name], expected)
    for name in ("majority", "persistence"):
        np.testing.assert_array_equal(tested.baselines[name], baselines.called[name])


def test_what_is_there_is_found_among_many_zeros() -> None:
    """No probability is above ½, so the calls themselves do not vary."""
    calls, baselines = made(1000, 0.25, edge=0.1)
    probability: Array = calls["probability"].to_numpy()
    assert not (probability > 0.5).any()
    found = showing(calls_to_test(calls, baselines))
    assert found.pvalue is not None
    assert found.pvalue < 0.001
    assert found.hits == (calls["up"] == 0).sum(), "the accuracy keeps ½"


def test_network_and_baselines_are_tested_alike() -> None:
    calls, baselines = made(800, 0.0, edge=0.05, seed=1)
    tested = calls_to_test(calls, baselines)
    network = showing(tested)
    showings = baseline_showings(tested, baselines)
    assert showings["boosting"] == network
    assert showings["majority"].pvalue is None
    assert showings["persistence"].pvalue is None, "its probability is the base rate"
    rule = within_strata(tested.up, baselines.probability["logistic"], tested.stratum)
    assert rule is not None
    assert showings["logistic"].pvalue == rule.pvalue
    assert showings["persistence"].hits == (baselines.called["persistence"] == tested.up).sum()


def test_below_fifty_days_the_calls_are_tested_exactly() -> None:
    calls, baselines = made(49, 0.0, edge=0.2, seed=2)
    tested = calls_to_test(calls, baselines)
    exact = within_strata(tested.up, tested.called, tested.stratum)
    assert exact is not None
    assert showing(tested).pvalue == exact.pvalue


def test_below_fifty_days_only_exact_tests_are_done() -> None:
    few = scored(*made(49, 0.0, seed=2))
    pvalues = {name for name in few.defined if name.endswith("pvalue")}
    assert pvalues == {names.PT_PVALUE, names.CONDITIONAL_PVALUE}
    assert few.undefined[names.pvalue("spa")] == "it is not exact below 50 test days"
    many = scored(*made(50, 0.0, seed=2))
    assert not any("exact" in why for why in many.undefined.values())
    assert {names.pvalue("spa"), names.pvalue("dm_bootstrap")} <= many.defined.keys()


def test_the_p_values_are_of_the_calls_to_test_and_pay_for_the_look() -> None:
    calls, baselines = made(700, 0.1, seed=3)
    tested = calls_to_test(calls, baselines)
    found = scored(calls, baselines, number=3).defined
    alone = pesaran_timmermann(tested.up, tested.called)
    assert alone is not None
    assert found[names.PT_PVALUE] == alone.pvalue
    assert found[names.PT_PVALUE_ADJUSTED] == min(1, alone.pvalue * 0.05 / nth_look(3).level)
