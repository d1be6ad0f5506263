"""Surrogates keep what their kind says, and what a sign could be told from is gone."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from rnn_core.config import Synthetic
from rnn_core.data.features import log_returns
from rnn_core.data.loading import load
from rnn_core.data.prices import Prices
from rnn_core.evaluation.surrogates import NULL, Kind, planted, surrogate

SIGNS, BLOCKS = NULL
KINDS = (*NULL, planted(0.55), planted(0.60))
NOW = datetime(2024, 6, 1, tzinfo=UTC)


def with_signs(prices: Prices, signs: np.ndarray) -> Prices:
    """The prices with other signs; opens stay where they were, as shares of the close before."""
    moves = np.abs(log_returns(prices.frame)[1:]) * signs
    frame = prices.frame.assign(close=100 * np.exp(np.append(0, np.cumsum(moves))))
    return replace(prices, frame=frame)


@pytest.fixture(scope="module")
def predictable() -> Prices:
    """Signs repeat with probability 0.8."""
    return load(Synthetic(days=2000, edge=0.3), "TEST", NOW)


@pytest.fixture(scope="module")
def rising(predictable: Prices) -> Prices:
    """Sixty days in a hundred close up, and ten do not move: those of the second tenth."""
    rng = np.random.default_rng(1)
    signs = np.where(rng.random(1999) < 0.6, 1.0, -1.0)
    signs[200:400] = 0
    return with_signs(predictable, signs)


def returns_of(prices: Prices) -> np.ndarray:
    return log_returns(prices.frame)[1:]


def correlation(values: np.ndarray, lag: int = 1) -> float:
    return float(np.corrcoef(values[lag:], values[:-lag])[0, 1])


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_surrogate_is_fit_to_train_on_and_its_own(kind: Kind, rising: Prices) -> None:
    made = surrogate(rising, kind, 3, seed=0)
    assert made.frame.index.equals(rising.frame.index)
    assert list(made.frame) == list(rising.frame)
    assert made.frame.iloc[0].equals(rising.frame.iloc[0])
    assert np.isfinite(made.frame).all(axis=None)
    assert (made.frame[["close", "open"]] > 0).all(axis=None)
    assert (made.exchange, made.source) == (rising.exchange, rising.source)
    assert made.attainable_accuracy is None
    assert made.frame.equals(surrogate(rising, kind, 3, seed=0).frame)
    others = [surrogate(rising, kind, 4, seed=0), surrogate(rising, kind, 3, seed=1)]
    assert not any(made.frame.equals(other.frame) for other in others)


@pytest.mark.parametrize("kind", [SIGNS, planted(0.55)], ids=lambda kind: kind.name)
def test_sizes_and_volumes_keep_their_order(kind: Kind, predictable: Prices) -> None:
    made = surrogate(predictable, kind, 0, seed=0)
    sizes = np.abs(returns_of(made))
    np.testing.assert_allclose(sizes, np.abs(returns_of(predictable)), atol=1e-12)
    np.testing.assert_array_equal(made.frame["volume"], predictable.frame["volume"])


def test_blocks_keep_days_that_follow_each_other(predictable: Prices) -> None:
    made = surrogate(predictable, BLOCKS, 0, seed=0)
    volume = predictable.frame["volume"].to_numpy()
    day = {value: number for number, value in enumerate(volume)}
    days = np.array([day[value] for value in made.frame["volume"]])[1:]
    drawn = np.abs(returns_of(made))
    np.testing.assert_allclose(drawn, np.abs(returns_of(predictable))[days - 1], atol=1e-12)
    follows = np.diff(days) == 1
    assert 0.8 < follows.mean() < 1
    real = correlation(np.abs(returns_of(predictable)))
    assert correlation(drawn) == pytest.approx(real, abs=0.1)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_day_is_turned_around_as_a_whole(kind: Kind, predictable: Prices) -> None:
    def before_the_open(prices: Prices) -> dict[float, float]:
        """By volume, the share of a day's return that was made before the open."""
        frame = prices.frame
        overnight = np.log(frame["open"].to_numpy()[1:] / frame["close"].to_numpy()[:-1])
        return dict(zip(frame["volume"].iloc[1:], overnight / returns_of(prices), strict=True))

    real = before_the_open(predictable)
    made = before_the_open(surrogate(predictable, kind, 0, seed=0))
    assert len(made) > 900
    expected = [real[volume] for volume in made]
    np.testing.assert_allclose(list(made.values()), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", NULL, ids=lambda kind: kind.name)
def test_the_share_of_ups_is_kept_and_nothing_tells_them(kind: Kind, rising: Prices) -> None:
    ups = np.array([returns_of(surrogate(rising, kind, n, seed=0)) > 0 for n in range(40)])
    assert ups.mean() == pytest.approx((returns_of(rising) > 0).mean(), abs=0.01)
    for lag in (1, 2, 5):
        assert np.mean([correlation(up, lag) for up in ups]) == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("kind", NULL, ids=lambda kind: kind.name)
def test_what_was_predictable_is_not(kind: Kind, predictable: Prices) -> None:
    """A plain block bootstrap of returns would keep nearly all of 0.8."""
    assert (np.diff(np.sign(returns_of(predictable))) == 0).mean() > 0.77
    made = [np.sign(returns_of(surrogate(predictable, kind, n, seed=0))) for n in range(40)]
    assert np.mean([np.diff(signs) == 0 for signs in made]) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_days_that_do_not_move_tell_nothing(kind: Kind, rising: Prices) -> None:
    """They stood together: yesterday's zero told today's, which counts as down."""
    real = (returns_of(rising) == 0).astype(float)
    assert correlation(real) > 0.9
    made = [(returns_of(surrogate(rising, kind, n, seed=0)) == 0).astype(float) for n in range(40)]
    assert np.mean([correlation(zero) for zero in made]) == pytest.approx(0, abs=0.01)
    assert {zero.sum() for zero in made} == {200}


@pytest.mark.parametrize("edge", [0.52, 0.60, 0.90])
def test_a_planted_sign_repeats_as_often_as_it_should(edge: float, predictable: Prices) -> None:
    made = [np.sign(returns_of(surrogate(predictable, planted(edge), n, 0))) for n in range(40)]
    assert np.mean([np.diff(signs) == 0 for signs in made]) == pytest.approx(edge, abs=0.01)
    assert np.mean([signs > 0 for signs in made]) == pytest.approx(0.5, abs=0.03)


def test_prices_without_open_and_volume_make_surrogates_without(predictable: Prices) -> None:
    bare = replace(predictable, frame=predictable.frame[["close"]])
    made = surrogate(bare, SIGNS, 0, seed=0).frame
    assert list(made) == ["close"]
    whole = surrogate(predictable, SIGNS, 0, seed=0).frame
    pd.testing.assert_series_equal(made["close"], whole["close"])
