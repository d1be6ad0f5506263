"""What trading on the calls would have earned after costs, compared with buy and hold.

A position decided at the close of t is traded at the next close, or at the next open if opens are
given:

    session              t            t+1           t+2
                    ─────┤close ─────────┤close ────────┤close
    decided              ● weights[t]
    traded                               ●                        at the next close
    earns                                ├──────────────┤         next_return[t+1]

    session              t    open t+1       close t+1    open t+2
    decided              ●
    traded                       ●                                at the next open
    earns                        ├───────────────┤ intraday of t+1, then overnight[t+1]

Day t of a result runs from the close of t to the close of t+1.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Literal

import numpy as np
from scipy.stats import kurtosis, norm, skew

from rnn_core.errors import ArrayError, ConfigError
from rnn_core.evaluation.metrics import CALLS_UP, CONFIDENCE
from rnn_core.evaluation.significance import Test, mean_above_zero, sharpe_error
from rnn_core.nn.arrays import Array, check_array

ROUNDING = 1e-6  # returns of prices in single precision differ by less, for no other reason
BASIS_POINT = 1e-4
Style = Literal["long_flat", "long_short"]


@dataclass(frozen=True)
class Sharpe:
    """Sharpe ratio of daily returns over cash that pays nothing.

    Attributes:
        annual: mean / standard deviation · √(sessions a year).
        low: lower end of its interval.
        high: upper end of its interval.
        daily: mean / standard deviation, as `significance.deflated_sharpe` takes it.
        days: number of returns.
        skew: their skewness.
        kurtosis: their full kurtosis, 3 for a normal distribution.
    """

    annual: float
    low: float
    high: float
    daily: float
    days: int
    skew: float
    kurtosis: float


@dataclass(frozen=True)
class Strategy:
    """Daily account of one strategy, n days.

    Attributes:
        weight: (n,) share of the equity held at the end of each day: −1, 0 or 1.
        turnover: (n,) the value traded, as a share of the equity at that time.
        net: (n,) simple daily return after costs.
        equity: (n,) value at the end of each day of 1 invested at the start.
        sharpe: None if the returns before costs do not vary after the first day.
        statistics: by name, `total_return` and `max_drawdown` (shares), `turnover` (a year),
            `sharpe_net`, `sharpe_low`, `sharpe_high` (a year), `break_even_cost` (basis points);
            undefined ones are left out.
        undefined: {name: why} of those left out.
    """

    weight: Array
    turnover: Array
    net: Array
    equity: Array
    sharpe: Sharpe | None
    statistics: dict[str, float]
    undefined: dict[str, str]


@dataclass(frozen=True)
class Timing:
    """The gain of changing the position over holding its mean size throughout, at no cost.

    Attributes:
        gain: mean of the daily net returns beyond that, in basis points.
        test: of that mean being above 0; None if undefined.
    """

    gain: float
    test: Test | None


@dataclass(frozen=True)
class Backtest:
    """A strategy, and buy and hold on the same days at the same cost and time of trading.

    Attributes:
        strategy: trades on the calls.
        buy_and_hold: buys once.
        traded: when both trade.
    """

    strategy: Strategy
    buy_and_hold: Strategy
    traded: Literal["next close", "next open"]


def positions(probability: Array, style: Style) -> Array:
    """Return the weights (n,) held on probabilities (n,) of up: 1 above ½ and 0 at ½.

    Below ½ the weight is 0 for long_flat and −1 for long_short.

    >>> positions(np.array([0.6, 0.5, 0.4]), "long_short")
    array([ 1.,  0., -1.])
    """
    side = np.sign(probability - CALLS_UP)
    return np.asarray(np.maximum(side, 0) if style == "long_flat" else side)


def backtest(
    weights: Array,
    next_return: Array,
    cost: float,
    overnight: Array | None = None,
    *,
    sessions_a_year: int,
) -> Backtest:
    """Return the account of holding weights (n,), decided at n successive closes.

    With w the weight traded to, and w' and ŵ what yesterday's weight has drifted to at the last
    close and at the trade,

        net = (1 + w' (exp(overnight) − 1)) (1 − cost · |w − ŵ|) (1 + w (exp(rest) − 1)) − 1

    so a short is brought back to −1 each day, and pays for it. The account starts in cash and is
    not sold at the end; an account that has lost everything stays at 0.

    Args:
        weights: (n,) from −1 to 1.
        next_return: (n,) log return from each of the closes to the next.
        cost: basis points of the value traded.
        overnight: (n,) the part of `next_return` up to the next open (log, opens adjusted as the
            closes are). With it, trades are done at the next open, else at the next close.
        sessions_a_year: how many sessions a year of the market has.

    Raises:
        ConfigError: a cost below 0 or of 10,000 and more, which is all that is traded.
        ArrayError: arrays that differ in length, are empty or hold a NaN; weights beyond −1 … 1.
    """
    if not 0 <= cost < 1 / BASIS_POINT:
        raise ConfigError(
            f"cost must be 0 or more and below {1 / BASIS_POINT:,.0f} basis points (got {cost})"
        )
    next_return = check_array("next_return", next_return, (None,), axes="n")
    weights = check_array("weights", weights, next_return.shape, axes="n")
    if len(weights) == 0 or np.abs(weights).max() > 1:
        raise ArrayError(
            f"weights must be one or more numbers from −1 to 1 (got shape {weights.shape})"
        )
    ones = np.ones_like(weights)
    if overnight is None:
        start = np.zeros_like(next_return)
        strategy = _account(_later(weights), start, next_return, cost, sessions_a_year)
        hold = _account(_later(ones), start, next_return, cost, sessions_a_year)
        return Backtest(strategy, hold, "next close")
    overnight = check_array("overnight", overnight, next_return.shape, axes="n")
    rest = next_return - overnight
    strategy = _account(weights, overnight, rest, cost, sessions_a_year)
    hold = _account(ones, overnight, rest, cost, sessions_a_year)
    return Backtest(strategy, hold, "next open")


def frictionless(weights: Array, next_return: Array, *, sessions_a_year: int) -> Strategy:
    """Return the account of weights (n,) traded at once and at no cost at the close they come from.

    Nobody can trade so: the close is known only when it is over. It bounds what the calls are worth
    from above. `next_return` (n,) and `sessions_a_year` are as in `backtest`.
    """
    start = np.zeros_like(next_return)
    return _account(weights, start, next_return, 0, sessions_a_year)


def timing(strategy: Strategy, next_return: Array) -> Timing:
    """Return what the changes of a strategy's weight earned, beyond a constant one of equal mean.

    A strategy that is mostly long earns what a rising market does, whenever it is long. The
    constant position earns mean(w) · (exp(next_return) − 1) a day; `next_return` (n,) is as in
    `backtest`.
    """
    beyond = strategy.net - strategy.weight.mean() * np.expm1(next_return)
    rounding = np.abs(beyond).max() <= 1e-12 * np.abs(strategy.net).max()
    test = None if rounding else mean_above_zero(beyond)
    return Timing(float(beyond.mean() / BASIS_POINT), test)


def sharpe(
    returns: Array, *, sessions_a_year: int, confidence: float = CONFIDENCE
) -> Sharpe | None:
    """Return the annual Sharpe ratio of simple daily returns (n,).

    It is None for returns that do not vary. Its interval is SR ± z · error, with
    Lo's (2002) standard error for independent returns and Mertens' (2002) terms for skewness and
    kurtosis: `significance.sharpe_error`.
    """
    days = len(returns)
    if not _varies(returns):
        return None
    annual = sqrt(sessions_a_year)
    daily = float(returns.mean() / returns.std(ddof=1))
    skewness = float(skew(returns))
    full_kurtosis = float(kurtosis(returns, fisher=False))
    z = norm.ppf((1 + confidence) / 2)
    reach = z * sharpe_error(daily, days, skewness, full_kurtosis)
    return Sharpe(
        annual=daily * annual,
        low=float((daily - reach) * annual),
        high=float((daily + reach) * annual),
        daily=daily,
        days=days,
        skew=skewness,
        kurtosis=full_kurtosis,
    )


def _varies(returns: Array) -> bool:
    """Return False for fewer than two returns, or for returns that are equal up to rounding."""
    return len(returns) > 1 and bool(np.ptp(returns) > ROUNDING)


def max_drawdown(equity: Array) -> float:
    """Return the largest fall of the equity (n,) from a peak, as a share of that peak.

    The 1 at the start counts as a peak.

    >>> max_drawdown(np.array([1.2, 0.9, 1.5]))
    0.25
    """
    value = np.append(1.0, equity)
    return float((1 - value / np.maximum.accumulate(value)).max())


def _later(series: Array) -> Array:
    """Return the series (n,) one day later, 0 on the first."""
    return np.append(np.zeros(1), series[:-1])


def _account(
    weight: Array, until_trade: Array, since_trade: Array, cost: float, sessions_a_year: int
) -> Strategy:
    """Account for days that begin with yesterday's holdings and trade to `weight`; all (n,).

    The trade is between two log returns, `until_trade` and `since_trade`.
    """
    until = np.expm1(until_trade)
    since = np.expm1(since_trade)
    carried = _drift(_later(weight), _later(since))  # what yesterday's weight was at its close
    traded = np.abs(weight - _drift(carried, until))
    gross = np.maximum(1 + carried * until, 0) * np.maximum(1 + weight * since, 0)
    growth = gross * np.maximum(1 - cost * BASIS_POINT * traded, 0)
    equity = np.cumprod(growth)
    alive = _later(equity) > 0
    alive[0] = True
    net = np.where(alive, growth - 1, 0)
    turnover = np.where(alive, traded, 0)
    statistics = {
        "total_return": float(equity[-1] - 1),
        "max_drawdown": max_drawdown(equity),
        "turnover": float(turnover.mean() * sessions_a_year),
    }
    # The first day is spent in cash until the trade, and costs alone are no variation
    ratio = sharpe(net, sessions_a_year=sessions_a_year) if _varies(gross[1:]) else None
    sharpes, constant = _sharpe_statistics(ratio, len(net))
    break_even, no_break_even = _break_even(gross, traded)
    return Strategy(
        weight=weight,
        turnover=turnover,
        net=net,
        equity=equity,
        sharpe=ratio,
        statistics=statistics | sharpes | break_even,
        undefined=constant | no_break_even,
    )


def _sharpe_statistics(ratio: Sharpe | None, days: int) -> tuple[dict[str, float], dict[str, str]]:
    """Return the ratio and its interval by name, or why they are undefined."""
    names = ("sharpe_net", "sharpe_low", "sharpe_high")
    if ratio is None:
        return {}, dict.fromkeys(names, f"the returns of {days} days do not vary")
    return dict(zip(names, (ratio.annual, ratio.low, ratio.high), strict=True)), {}


def _break_even(gross: Array, traded: Array) -> tuple[dict[str, float], dict[str, str]]:
    """Return the cost in basis points at which the mean net return is 0, or why there is none."""
    charged = (gross * traded).mean()  # the mean net return falls by this for each unit of cost
    if charged <= 0:
        return {}, {"break_even_cost": "nothing was traded"}
    if not gross.all():
        return {}, {"break_even_cost": "all was lost before costs"}
    break_even = float((gross - 1).mean() / charged)
    if abs(break_even) > 1:
        return {}, {"break_even_cost": "it is beyond 100 %: next to nothing was traded"}
    return {"break_even_cost": break_even / BASIS_POINT}, {}


def _drift(weight: Array, simple_return: Array) -> Array:
    """Return the share of the equity (n,) that a weight becomes after its simple return."""
    value = 1 + weight * simple_return
    holding = weight * (1 + simple_return)
    return np.asarray(np.divide(holding, value, out=np.zeros_like(weight), where=value > 0))
