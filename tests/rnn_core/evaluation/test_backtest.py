"""Trading on calls, against an account kept in cash and shares, day by day."""

from functools import partial
from math import sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, norm

from rnn_core.errors import ArrayError, ConfigError
from rnn_core.evaluation import backtest as backtests
from rnn_core.evaluation.backtest import Strategy, max_drawdown, positions, timing
from rnn_core.evaluation.significance import probabilistic_sharpe

backtest = partial(backtests.backtest, sessions_a_year=252)
frictionless = partial(backtests.frictionless, sessions_a_year=252)
sharpe = partial(backtests.sharpe, sessions_a_year=252)
quick = settings(derandomize=True, deadline=None, max_examples=50)
RETURNS = st.integers(0, 10_000), st.integers(1, 60), st.floats(0.001, 0.3)


def market(seed: int, days: int, volatility: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights in −1, 0, 1, log returns from close to close and the part of them up to the open."""
    rng = np.random.default_rng(seed)
    overnight, intraday = rng.normal(scale=volatility / 2, size=(2, days))
    return rng.choice([-1.0, 0.0, 1.0], days), overnight + intraday, overnight


class Broker:
    """Cash and shares; what is traded pays the cost."""

    def __init__(self, cost: float) -> None:
        self.cash, self.shares, self.rate, self.traded = 1.0, 0.0, cost / 10_000, 0.0

    def worth(self, price: float) -> float:
        return self.cash + self.shares * price

    def trade_to(self, weight: float, price: float) -> None:
        worth = self.worth(price)
        self.traded = abs(weight - self.shares * price / worth)
        worth -= self.rate * self.traded * worth
        self.shares = weight * worth / price
        self.cash = worth - self.shares * price


def account(
    weights: np.ndarray, returns: np.ndarray, overnight: np.ndarray | None, cost: float
) -> list[list[float]]:
    """[equity, turnover] by day, from close t to t + 1; what is decided at close t trades later."""
    broker, price, rows, decided = Broker(cost), 100.0, [], 0.0
    for day, total in enumerate(returns):
        closed = price * np.exp(total)
        if overnight is None:  # the order given at the close before is done at this close
            broker.trade_to(decided, price)
        else:  # the order given at this close is done at the next open
            broker.trade_to(weights[day], price * np.exp(overnight[day]))
        decided, price = weights[day], closed
        rows.append([broker.worth(price), broker.traded])
    return rows


def check(
    found: Strategy, weights: np.ndarray, returns: np.ndarray, overnight: Any, cost: float
) -> None:
    equity, turnover = np.array(account(weights, returns, overnight, cost)).T
    np.testing.assert_allclose(found.equity, equity, rtol=1e-9)
    np.testing.assert_allclose(found.turnover, turnover, rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(
        found.net, equity / np.append(1.0, equity[:-1]) - 1, rtol=1e-7, atol=1e-12
    )
    assert found.statistics["total_return"] == pytest.approx(equity[-1] - 1)
    assert found.statistics["turnover"] == pytest.approx(turnover.mean() * 252)


@quick
@given(*RETURNS, st.floats(0, 200), st.booleans())
def test_the_account_is_that_of_cash_and_shares(
    seed: int, days: int, volatility: float, cost: float, at_open: bool
) -> None:
    weights, returns, overnight = market(seed, days, min(volatility, 0.1))
    opens = overnight if at_open else None
    found = backtest(weights, returns, cost, opens)
    check(found.strategy, weights, returns, opens, cost)
    check(found.buy_and_hold, np.ones(days), returns, opens, cost)
    assert found.traded == ("next open" if at_open else "next close")


def test_what_is_decided_at_a_close_earns_nothing_before_it_is_traded() -> None:
    """One call, at the close of day 1, in front of two days that rise by 10 % and 20 %."""
    weights, returns = np.array([0.0, 1.0, 0.0, 0.0]), np.log([1.0, 1.1, 1.2, 1.0])
    at_close = backtest(weights, returns, 0).strategy
    np.testing.assert_allclose(at_close.net, [0, 0, 0.2, 0], atol=1e-12)
    np.testing.assert_array_equal(at_close.weight, [0, 0, 1, 0])
    overnight = np.log([1.0, 1.05, 1.15, 1.0])
    at_open = backtest(weights, returns, 0, overnight).strategy
    np.testing.assert_allclose(at_open.net, [0, 1.1 / 1.05 - 1, 0.15, 0], atol=1e-12)


def test_a_perfect_foresight_of_the_next_session_earns_nothing_of_it_at_the_next_close() -> None:
    """With alternating returns, who is right every day and trades a day late is always wrong."""
    returns = np.tile([0.01, -0.01], 50)
    late = backtest(np.sign(returns), returns, 0).strategy
    assert late.statistics["total_return"] < -0.6


def test_buying_and_holding_trades_once() -> None:
    _, returns, overnight = market(1, 80, 0.02)
    for opens, start in ((None, 1), (overnight, 0)):
        hold = backtest(np.zeros(80), returns, 10, opens).buy_and_hold
        np.testing.assert_array_equal(np.flatnonzero(hold.turnover > 1e-12), [start])
        assert hold.turnover[start] == 1
        earned = returns[1:].sum() if opens is None else returns.sum() - overnight[0]
        assert hold.equity[-1] == pytest.approx((1 - 0.001) * np.exp(earned))


@quick
@given(*RETURNS, st.booleans())
def test_at_the_break_even_cost_the_mean_net_return_is_zero(
    seed: int, days: int, volatility: float, at_open: bool
) -> None:
    weights, returns, overnight = market(seed, days, min(volatility, 0.05))
    opens = overnight if at_open else None
    free = backtest(weights, returns, 0, opens).strategy
    if "break_even_cost" not in free.statistics:
        little = abs(free.net.mean()) > free.turnover.mean() * 0.9
        assert free.undefined["break_even_cost"] == (
            "it is beyond 100 %: next to nothing was traded"
            if free.turnover.any() and little
            else "nothing was traded"
        )
        return
    cost = free.statistics["break_even_cost"]
    assert backtest(weights, returns, 7.5, opens).strategy.statistics[
        "break_even_cost"
    ] == pytest.approx(cost)
    assert np.sign(cost) == np.sign(free.net.mean())
    if 0 <= cost < 4000:
        assert backtest(weights, returns, cost, opens).strategy.net.mean() == pytest.approx(
            0, abs=1e-12
        )


@quick
@given(*RETURNS)
def test_costs_are_never_a_gain(seed: int, days: int, volatility: float) -> None:
    weights, returns, _ = market(seed, days, volatility)
    cheap, dear = (backtest(weights, returns, cost).strategy for cost in (1, 20))
    assert (dear.equity <= cheap.equity + 1e-12).all()


@quick
@given(
    st.integers(0, 10_000), st.integers(1, 60), st.floats(0, 3), st.floats(0, 9999), st.booleans()
)
def test_nothing_is_ever_nan_and_what_is_left_out_says_why(
    seed: int, days: int, volatility: float, cost: float, at_open: bool
) -> None:
    weights, returns, overnight = market(seed, days, volatility)
    found = backtest(weights, returns, cost, overnight if at_open else None)
    for side in (found.strategy, found.buy_and_hold):
        for series in (
            side.weight,
            side.turnover,
            side.net,
            side.equity,
            np.array(list(side.statistics.values())),
        ):
            assert np.isfinite(series).all()
        assert (side.equity >= 0).all()
        assert (side.net >= -1).all()
        assert 0 <= side.statistics["max_drawdown"] <= 1
        whole = {
            "total_return",
            "max_drawdown",
            "turnover",
            "sharpe_net",
            "sharpe_low",
            "sharpe_high",
        }
        assert side.statistics.keys() | side.undefined.keys() == whole | {"break_even_cost"}
        assert not side.statistics.keys() & side.undefined.keys()


@pytest.mark.parametrize("rise", [2.0, 2.5])
def test_who_has_lost_all_has_nothing_left_to_win_with(rise: float) -> None:
    returns = np.log([1.0, rise, 0.1, 0.1, 1.0])
    found = backtest(-np.ones(5), returns, 5).strategy
    np.testing.assert_array_equal(found.equity[1:], 0)
    np.testing.assert_array_equal(found.net[2:], 0)
    np.testing.assert_array_equal(found.turnover[2:], 0)
    assert found.statistics["max_drawdown"] == 1
    assert found.undefined["break_even_cost"] == "all was lost before costs"


def test_twice_below_nothing_is_not_a_gain() -> None:
    """Overnight and intraday each lose more than the short is worth; the product is no gain."""
    overnight = np.log([1.0, 2.5, 1.0])
    found = backtest(-np.ones(3), overnight + np.log([1.0, 2.5, 1.0]), 0, overnight).strategy
    np.testing.assert_array_equal(found.equity, [1, 0, 0])


def test_never_trading_has_no_sharpe_ratio_and_says_so() -> None:
    _, returns, _ = market(2, 40, 0.02)
    found = backtest(np.zeros(40), returns, 10).strategy
    np.testing.assert_array_equal(found.equity, 1)
    assert found.sharpe is None
    assert found.statistics == {"total_return": 0, "max_drawdown": 0, "turnover": 0}
    assert found.undefined["sharpe_net"] == "the returns of 40 days do not vary"
    assert found.undefined["break_even_cost"] == "nothing was traded"


@pytest.mark.parametrize("cost", [-1e-9, -5, float("nan"), 10_000])
def test_a_cost_below_zero_or_above_all_is_refused(cost: float) -> None:
    with pytest.raises(ConfigError, match="cost must be 0 or more and below 10,000 basis points"):
        backtest(np.ones(3), np.zeros(3), cost)


def test_arrays_that_do_not_fit_are_refused() -> None:
    returns = np.zeros(3)
    for weights, changed, message in (
        (np.ones(2), returns, "weights has shape"),
        (np.ones(3), np.array([0, np.nan, 0]), "next_return .* NaN"),
        (np.array([0, 1.5, 0]), returns, "from −1 to 1"),
        (np.empty(0), np.empty(0), "one or more"),
    ):
        with pytest.raises(ArrayError, match=message):
            backtest(weights, changed, 0)
    with pytest.raises(ArrayError, match="overnight has shape"):
        backtest(np.ones(3), returns, 0, np.zeros(2))


def test_positions_follow_the_probability() -> None:
    probability = np.array([0.2, 0.5, 0.500001, 0.9])
    np.testing.assert_array_equal(positions(probability, "long_flat"), [0, 0, 1, 1])
    np.testing.assert_array_equal(positions(probability, "long_short"), [-1, 0, 1, 1])


@quick
@given(st.integers(0, 10_000), st.integers(1, 50))
def test_the_drawdown_is_the_largest_fall_of_all_pairs_of_days(seed: int, days: int) -> None:
    equity = np.exp(np.random.default_rng(seed).normal(size=days).cumsum() / 10)
    value = [1.0, *equity]
    expected = max(
        1 - value[later] / value[peak]
        for peak in range(len(value))
        for later in range(peak, len(value))
    )
    assert max_drawdown(equity) == pytest.approx(expected, abs=1e-12)


def test_the_sharpe_ratio_is_by_its_definition_and_its_interval_covers_the_truth() -> None:
    rng = np.random.default_rng(3)
    returns = rng.normal(0.001, 0.01, 500)
    found = sharpe(returns)
    assert found is not None
    mean = sum(returns) / 500
    deviation = sqrt(sum((value - mean) ** 2 for value in returns) / 499)
    assert found.annual == pytest.approx(mean / deviation * sqrt(252))
    assert found.daily == pytest.approx(mean / deviation)
    assert (found.low + found.high) / 2 == pytest.approx(found.annual)
    assert found.days == 500
    centred = returns - mean
    assert found.skew == pytest.approx(np.mean(centred**3) / np.mean(centred**2) ** 1.5)
    assert found.kurtosis == pytest.approx(np.mean(centred**4) / np.mean(centred**2) ** 2)
    covered = 0
    for _ in range(1000):
        trial = sharpe(rng.exponential(0.01, 250) - 0.009)  # skewed, a true ratio of 0.1 a day
        assert trial is not None
        covered += trial.low < 0.1 * sqrt(252) < trial.high
    assert covered / 1000 == pytest.approx(0.95, abs=0.025)


def test_the_interval_excludes_zero_where_the_probabilistic_ratio_says_so() -> None:
    for drift in (0.0005, 0.001, 0.0012, 0.0015, 0.003):
        found = sharpe(np.random.default_rng(4).normal(drift, 0.01, 400))
        assert found is not None
        sure = probabilistic_sharpe(found.daily, found.days, found.skew, found.kurtosis)
        assert sure is not None
        assert (found.low > 0) == (sure > 0.975)


@pytest.mark.parametrize("returns", [np.array([0.01]), np.zeros(5), np.full(7, 0.1), np.empty(0)])
def test_the_sharpe_ratio_of_constant_returns_is_undefined(returns: np.ndarray) -> None:
    assert sharpe(returns) is None


def test_a_break_even_cost_beyond_everything_is_left_out() -> None:
    """Bought once, the market doubles each day: any cost is earned."""
    result = backtest(np.ones(40), np.full(40, np.log(2)), 5).strategy
    assert "break_even_cost" not in result.statistics
    assert "beyond 100 %" in result.undefined["break_even_cost"]


@quick
@given(*RETURNS)
def test_without_friction_each_return_is_earned_by_the_weight_it_was_called_with(
    seed: int, days: int, volatility: float
) -> None:
    weights, returns, _ = market(seed, days, min(volatility, 0.05))
    result = frictionless(weights, returns)
    np.testing.assert_allclose(result.net, weights * np.expm1(returns), atol=1e-12)
    np.testing.assert_array_equal(result.weight, weights)


class TestTiming:
    def test_it_is_the_mean_and_the_newey_west_t_of_what_a_constant_position_does_not_earn(
        self,
    ) -> None:
        weights, returns, _ = market(3, 500, 0.02)
        result = backtest(weights, returns, 5).strategy
        beyond = result.net - result.weight.mean() * np.expm1(returns)
        centered = beyond - beyond.mean()
        lags = int(4 * 5 ** (2 / 9))
        variance = centered @ centered
        for lag in range(1, lags + 1):
            variance += 2 * (1 - lag / (lags + 1)) * (centered[lag:] @ centered[:-lag])
        found = timing(result, returns)
        assert found.gain == pytest.approx(beyond.mean() * 10_000)
        assert found.test is not None
        assert found.test.statistic == pytest.approx(beyond.sum() / sqrt(variance))
        assert found.test.pvalue == pytest.approx(norm.sf(found.test.statistic))

    def test_a_constant_position_has_no_timing_in_any_market(self) -> None:
        rising = np.random.default_rng(4).normal(0.003, 0.01, 800)
        always = frictionless(np.ones(800), rising)
        assert always.sharpe is not None
        assert always.sharpe.annual > 3
        found = timing(always, rising)
        assert found.gain == pytest.approx(0, abs=1e-9)
        assert found.test is None

    def test_random_positions_in_a_rising_market_are_found_no_more_often_than_it_says(self) -> None:
        rng = np.random.default_rng(5)
        finds = 0
        for _ in range(400):
            returns = rng.normal(0.002, 0.01, 300)
            found = timing(frictionless((rng.random(300) < 0.7).astype(float), returns), returns)
            assert found.test is not None
            finds += found.test.pvalue <= 0.05
        assert finds <= binom.ppf(0.999, 400, 0.05)

    def test_knowing_tomorrow_is_found(self) -> None:
        _, returns, _ = market(6, 200, 0.02)
        found = timing(frictionless((returns > 0).astype(float), returns), returns)
        assert found.test is not None
        assert found.gain > 0
        assert found.test.pvalue < 1e-6


@pytest.mark.parametrize("cost", [0, 5])
@pytest.mark.parametrize("at_open", [True, False])
@pytest.mark.parametrize("noise", [0, 1e-16, 1e-7])
def test_a_price_that_rises_steadily_has_no_sharpe_ratio(
    cost: float, at_open: bool, noise: float
) -> None:
    """Neither the day in cash before the first trade, nor its cost, nor rounding is variation."""
    returns = 1e-4 + noise * np.random.default_rng(0).choice([-1.0, 1.0], 300)
    overnight = np.full(300, 4e-5) if at_open else None
    found = backtest(np.ones(300), returns, cost, overnight)
    for side in (found.strategy, found.buy_and_hold):
        assert side.sharpe is None
        assert side.undefined["sharpe_net"] == "the returns of 300 days do not vary"


def test_costs_of_trading_alone_are_no_variation() -> None:
    found = backtest(np.tile([1.0, 0.0], 40), np.zeros(80), 10).strategy
    assert found.statistics["total_return"] < 0
    assert found.sharpe is None


def test_a_strategy_that_is_sometimes_in_cash_has_a_sharpe_ratio_on_steady_prices() -> None:
    found = backtest(np.tile([1.0, 1.0, 0.0, 0.0], 40), np.full(160, 1e-4), 0).strategy
    assert found.sharpe is not None
    assert found.sharpe.annual == pytest.approx(sqrt(252), rel=0.02)


@pytest.mark.parametrize("year", [252, 260, 365])
def test_figures_by_the_year_count_the_sessions_of_the_market(year: int) -> None:
    weights, returns, _ = market(5, 400, 0.02)
    found = backtests.backtest(weights, returns, 3, sessions_a_year=year).strategy
    ratio = found.net.mean() / found.net.std(ddof=1) * sqrt(year)
    assert found.statistics["sharpe_net"] == pytest.approx(ratio)
    assert found.statistics["turnover"] == pytest.approx(found.turnover.mean() * year)
    middle = (found.statistics["sharpe_low"] + found.statistics["sharpe_high"]) / 2
    assert middle == pytest.approx(ratio)
