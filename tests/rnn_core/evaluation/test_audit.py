"""An audit finds no skill where there is none, more the more there is, and names what is broken."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from rnn_core.commands import Audit
from rnn_core.config import Evaluation, Feature, Model, Problem, Synthetic, Training
from rnn_core.data.features import FEATURES, log_returns
from rnn_core.data.loading import load
from rnn_core.data.prices import Prices
from rnn_core.errors import DataError
from rnn_core.evaluation import evaluation
from rnn_core.evaluation.audit import Count, Findings, count_skill, most_false, peeking, pieces
from rnn_core.evaluation.verdict import Showing

NOW = datetime(2024, 6, 1, tzinfo=UTC)
FAST: dict[str, Any] = {
    "model": Model(hidden_size=4),
    "training": Training(dtype="float32", seeds=2, epochs=12, patience=4),
    "evaluation": Evaluation(test_days=250),
}
PEEKS = ("return", "volatility")


@pytest.fixture(scope="module")
def predictable() -> Prices:
    """Signs repeat with probability 0.8."""
    return load(Synthetic(days=1600, edge=0.3), "TEST", NOW)


def test_no_skill_is_found_in_surrogates_of_a_predictable_series_and_it_is_where_planted(
    predictable: Prices,
) -> None:
    findings = count_skill(Audit(series=20, edges=(0.55, 0.65), **FAST), predictable)
    assert findings.test_days == 987
    assert [count.series for count in findings.null] == [10, 10]
    assert not findings.broken
    assert findings.power[0.65].skill >= 18
    assert findings.false_skill.skill < findings.power[0.55].skill < findings.power[0.65].skill
    assert findings.peeking == ()
    assert findings.promise.endswith(": up to 3 of 20 are chance at a rate of 5%")


@pytest.mark.parametrize(
    ("skill", "series", "kept"),
    [
        (
            0,
            10,
            "no breach was seen in 10 series, which leave a false-skill rate of up to 28% possi",
        ),
        (
            0,
            30,
            "no breach was seen in 30 series, which leave a false-skill rate of up to 11% possi",
        ),
        (
            5,
            100,
            "no breach was seen in 100 series, which leave a false-skill rate of up to 11% po",
        ),
        (0, 40, "the rule keeps its promise: up to 5 of 40"),
        (4, 100, "the rule keeps its promise: up to 10 of 100"),
        (11, 100, "THE RULE IS BROKEN HERE: 11 of 100"),
    ],
)
def test_a_promise_is_kept_only_where_series_suffice_to_exclude_twice_the_rate(
    skill: int, series: int, kept: str
) -> None:
    findings = Findings(500, (Count("signs redrawn", skill, series),), {}, ())
    assert findings.promise.startswith(kept)


def test_a_rule_that_is_too_easy_is_named(
    predictable: Prices, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = evaluation.showing

    def easy(*arguments: Any) -> Showing:
        """At half of all series, whatever the loss."""
        showing = honest(*arguments)
        return replace(showing, pvalue=showing.pvalue / 22, log_loss=0.0)

    monkeypatch.setattr(evaluation, "showing", easy)
    findings = count_skill(Audit(series=20, edges=(), **FAST), predictable)
    assert findings.false_skill.skill >= 7
    assert findings.broken
    assert findings.promise.startswith(f"THE RULE IS BROKEN HERE: {findings.false_skill} is more")
    assert "the test which decides does not hold" in findings.promise


Values = Callable[[pd.DataFrame, int], np.ndarray]


def tomorrow(frame: pd.DataFrame, _: int) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 0.03, len(frame))
    return np.append(log_returns(frame)[1:], 0.0) + noise


def normalised(frame: pd.DataFrame, _: int) -> np.ndarray:
    returns = log_returns(frame)
    return (returns - np.nanmean(returns)) / np.nanstd(returns)


def centred(frame: pd.DataFrame, _: int) -> np.ndarray:
    return np.asarray(frame["close"].rolling(5, center=True, min_periods=1).mean())


def days_to_the_end(frame: pd.DataFrame, _: int) -> np.ndarray:
    return np.arange(len(frame), 0.0, -1.0)


def wild_tomorrow(frame: pd.DataFrame, _: int) -> np.ndarray:
    return np.append(np.abs(log_returns(frame)[1:]) > 0.05, False).astype(float)


def volume_tomorrow(frame: pd.DataFrame, _: int) -> np.ndarray:
    return np.append(frame["volume"].to_numpy()[1:], 0.0)


@pytest.mark.parametrize(
    "values",
    [tomorrow, normalised, centred, days_to_the_end, wild_tomorrow, volume_tomorrow],
    ids=lambda values: values.__name__,
)
def test_a_feature_that_sees_the_future_is_named_and_no_other(
    values: Values, predictable: Prices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FEATURES, "volatility", replace(FEATURES["volatility"], values=values))
    assert peeking(Problem(features=get_args(Feature)), predictable) == ("volatility",)


def test_no_honest_feature_is_named(predictable: Prices, monkeypatch: pytest.MonkeyPatch) -> None:
    assert peeking(Problem(features=get_args(Feature)), predictable) == ()

    def smoothed(frame: pd.DataFrame, window: int) -> np.ndarray:
        """By Fourier transforms, whose rounding depends on all the values."""
        kernel = np.append(np.full(window, 1 / window), np.zeros(len(frame) - window))
        size = 2 * len(frame)
        product = np.fft.rfft(frame["close"], size) * np.fft.rfft(kernel, size)
        return np.fft.irfft(product, size)[: len(frame)]

    monkeypatch.setitem(FEATURES, "volatility", replace(FEATURES["volatility"], values=smoothed))
    assert peeking(Problem(features=PEEKS), predictable) == ()


def test_a_feature_that_peeks_shows_false_skill_and_is_named(
    predictable: Prices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FEATURES, "volatility", replace(FEATURES["volatility"], values=tomorrow))
    problem = Problem(features=PEEKS)
    findings = count_skill(Audit(series=10, edges=(), problem=problem, **FAST), predictable)
    assert findings.false_skill.skill >= 8
    assert findings.broken
    assert findings.promise.endswith(
        "means that a feature sees the future: volatility, whose past values change with later "
        "prices"
    )


def test_processes_count_as_one_does(predictable: Prices) -> None:
    config = Audit(series=10, edges=(0.55,), **FAST)
    one = count_skill(config, predictable)
    with ProcessPoolExecutor(3) as pool:
        assert count_skill(config, predictable, pool.map) == one


def test_too_few_prices_are_refused_before_anything_is_judged(predictable: Prices) -> None:
    def never(*_: Any) -> list[bool]:
        pytest.fail("a surrogate was judged")

    short = replace(predictable, frame=predictable.frame[:600])
    with pytest.raises(DataError, match="one fold needs 603"):
        count_skill(Audit(**FAST), short, never)


def findings(skill: int, peeking: tuple[str, ...] = (), **power: int) -> Findings:
    counts = {float(f"0.{edge[1:]}"): Count(edge, found, 100) for edge, found in power.items()}
    null = (Count("signs redrawn", skill, 50), Count("blocks redrawn", 0, 50))
    return Findings(1887, null, counts, peeking)


def test_what_was_found_is_one_sentence() -> None:
    assert findings(3, p52=9, p55=43, p60=100).meaning == (
        "with these settings and 1887 test days the rule finds a direction of 55% in 43% of "
        "series; false skill 3 of 100 (1 to 8%)"
    )
    assert findings(3).meaning == (
        "with these settings and 1887 test days: false skill 3 of 100 (1 to 8%)"
    )
    assert "of 58% in 90% of" in findings(0, p58=90, p60=99).meaning


def test_the_rule_is_broken_above_the_bound_of_the_binomial() -> None:
    assert most_false(100) == 10
    assert not findings(10).broken
    assert findings(11).broken
    kept = (
        "no breach was seen in 100 series, which leave a false-skill rate of up to 17% possible: "
        "up to 10 of 100 are chance at a rate of 5%"
    )
    assert findings(10).promise == kept
    assert findings(4).promise == (
        "the rule keeps its promise: up to 10 of 100 are chance at a rate of 5%"
    )
    assert findings(10, ("a", "b")).promise == (
        f"{kept}; but a feature sees the future: a and b, whose past values change with later "
        "prices"
    )
    assert findings(31).promise.startswith(
        "THE RULE IS BROKEN HERE: 31 of 100 (23 to 41%) is more than 10 of 100, which are chance "
        "at a rate of 5%; a false-skill rate of 31% means that a feature sees the future, though"
    )


def test_metrics_and_table_have_each_rate_with_its_interval() -> None:
    found = findings(3, p55=43)
    assert found.metrics["audit/false_skill"] == 0.03
    assert found.metrics["audit/power_0.55"] == 0.43
    assert found.metrics["audit/power_0.55_low"] == pytest.approx(0.337, abs=1e-3)
    assert found.metrics["audit/power_0.55_high"] == pytest.approx(0.528, abs=1e-3)
    assert found.metrics["audit/test_days"] == 1887
    assert found.table["direction"].tolist() == [
        "signs redrawn",
        "blocks redrawn",
        "no direction",
        "p55",
    ]
    assert found.table["skill"].tolist() == [3, 0, 3, 43]


def test_a_hundred_series_and_six_edges_are_asked_by_default() -> None:
    asked = pieces(Audit())
    kinds = pd.Series([piece.kind.name for piece in asked]).value_counts()
    assert kinds.to_dict() == {
        "signs redrawn": 50,
        "blocks redrawn": 50,
        **{edge: 100 for edge in ("0.52", "0.54", "0.55", "0.56", "0.58", "0.60")},
    }
    assert len(set(asked)) == 700


@pytest.mark.parametrize("edges", [(0.55, 0.55), (0.555,), (0.5,), (1.0,)])
def test_edges_are_different_per_cents_above_a_half(edges: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError):
        Audit(edges=edges)
