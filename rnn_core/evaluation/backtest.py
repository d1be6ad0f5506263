"""What trading on the calls would have earned after costs, beside buy and hold.

What is decided at the close of t is traded no earlier than the next open, and at the next close unless opens are given:

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
from rnn_core.evaluation.significance import sharpe_error
from rnn_core.nn.arrays import Array, check_array

DAYS_A_YEAR = 252
BASIS_POINT = 1e-4
Style = Literal["long_flat", "long_short"]


@dataclass(frozen=True)
class Sharpe:
    """Sharpe ratio of daily returns over cash that pays nothing.

    Attributes:
        annual: mean / standard deviation · √252, and its interval `low`..`high`.
        daily: the same by day, as `significance.deflated_sharpe` takes it, with `days`, `skew` and (full) `kurtosis`.
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
        turnover: (n,) what was traded, as a share of the equity at that time.
        net: (n,) simple daily return after costs.
        equity: (n,) value at the end of each day of 1 invested at the start.
        sharpe: None where the net returns do not vary or are fewer than two.
        statistics: by name, `total_return` and `max_drawdown` (shares), `turnover` (a year), `sharpe_net`,
            `sharpe_low`, `sharpe_high` (a year), `break_even_cost` (basis points); undefined ones are left out.
        undefined: {name: why} of what was left out.
    """

    weight: Array
    turnover: Array
    net: Array
    equity: Array
    sharpe: Sharpe | None
    statistics: dict[str, float]
    undefined: dict[str, str]


@dataclass(frozen=True)
class Backtest:
    """A strategy and, on the same days, at the same cost and traded as late, buy and hold; `traded` says when."""

    strategy: Strategy
    buy_and_hold: Strategy
    traded: Literal["next close", "next open"]


def positions(probability: Array, style: Style) -> Array:
    """(n,) weights from the probabilities (n,) of up: 1 above ½; below it 0 (long_flat) or −1 (long_short); 0 at ½."""
    side = np.sign(probability - 0.5)
    return np.asarray(np.maximum(side, 0) if style == "long_flat" else side)


def backtest(
    weights: Array, next_return: Array, cost: float, overnight: Array | None = None
) -> Backtest:
    """Account of holding weights (n,), decided at the closes of n successive sessions and traded one trade later.

    `next_return` (n,) is the log return from each of these closes to the next. With `overnight` (n,), the part of it
    up to the next open (log, opens adjusted as the closes are), trades are done at the next open, else at the next
    close. `cost` is in basis points of what is traded. With w the weight traded to, and w' and ŵ what yesterday's
    has drifted to at the last close and at the trade,

        net = (1 + w' (exp(overnight) − 1)) (1 − cost · |w − ŵ|) (1 + w (exp(rest) − 1)) − 1

    so a short is brought back to −1 each day, and pays for it. The account starts in cash and is not sold out of at
    the end; one that has lost all stays at 0.

    Raises:
        ConfigError: a cost that is below 0 or takes all that is traded (10,000 and more).
        ArrayError: arrays that differ in length, are empty or hold a NaN; weights beyond −1 … 1.
    """
    if not 0 <= cost < 1 / BASIS_POINT:
        raise ConfigError(
            f"cost {cost} basis points: 0 or more and less than {1 / BASIS_POINT:,.0f} is allowed"
        )
    next_return = check_array("next_return", next_return, (None,), axes="n")
    weights = check_array("weights", weights, next_return.shape, axes="n")
    if len(weights) == 0 or np.abs(weights).max() > 1:
        raise ArrayError(
            f"weights of shape {weights.shape}: one or more, from −1 to 1, are expected"
        )
    until = np.zeros_like(next_return)
    if overnight is not None:
        until = check_array("overnight", overnight, next_return.shape, axes="n")
    strategy, hold = (
        _account(
            series if overnight is not None else _later(series), until, next_return - until, cost
        )
        for series in (weights, np.ones_like(weights))
    )
    return Backtest(strategy, hold, "next close" if overnight is None else "next open")


def sharpe(returns: Array, confidence: float = 0.95) -> Sharpe | None:
    """Annual Sharpe ratio (252 days) of simple daily returns (n,), None for fewer than two or constant ones.

    Its interval is SR ± z · error, from Lo's (2002) standard error for independent returns with Mertens' (2002) terms
    for skewness and kurtosis, `significance.sharpe_error`.
    """
    days = len(returns)
    if days < 2 or np.ptp(returns) <= 1e-12 * np.abs(returns).max():
        return None
    daily = float(returns.mean() / returns.std(ddof=1))
    shape = float(skew(returns)), float(kurtosis(returns, fisher=False))
    reach = norm.ppf((1 + confidence) / 2) * sharpe_error(daily, days, *shape)
    annual, low, high = (
        float(value * sqrt(DAYS_A_YEAR)) for value in (daily, daily - reach, daily + reach)
    )
    return Sharpe(annual, low, high, daily, days, *shape)


def max_drawdown(equity: Array) -> float:
    """Largest fall of the equity (n,) from a peak, the 1 at the start among them, as a share of that peak."""
    value = np.append(1.0, equity)
    return float((1 - value / np.maximum.accumulate(value)).max())


def _later(series: Array) -> Array:
    """The series (n,) one day later, 0 on the first."""
    return np.append(np.zeros(1), series[:-1])


def _account(weight: Array, until_trade: Array, since_trade: Array, cost: float) -> Strategy:
    """Days that begin with the holdings of the day before, and trade to `weight` between two log returns; all (n,)."""
    until, since = np.expm1(until_trade), np.expm1(since_trade)
    carried = _drift(_later(weight), _later(since))  # what yesterday's weight was at its close
    traded = np.abs(weight - _drift(carried, until))
    gross = np.maximum(1 + carried * until, 0) * np.maximum(1 + weight * since, 0)
    growth = gross * np.maximum(1 - cost * BASIS_POINT * traded, 0)
    equity = np.cumprod(growth)
    alive = _later(equity) > 0
    alive[0] = True
    net, turnover = np.where(alive, growth - 1, 0), np.where(alive, traded, 0)
    ratio = sharpe(net)
    statistics = {
        "total_return": float(equity[-1] - 1),
        "max_drawdown": max_drawdown(equity),
        "turnover": float(turnover.mean() * DAYS_A_YEAR),
    }
    undefined: dict[str, str] = {}
    if ratio is not None:
        statistics |= {
            "sharpe_net": ratio.annual,
            "sharpe_low": ratio.low,
            "sharpe_high": ratio.high,
        }
    else:
        why = f"the net returns of {len(net)} days do not vary"
        undefined |= dict.fromkeys(("sharpe_net", "sharpe_low", "sharpe_high"), why)
    charged = (gross * traded).mean()  # the mean net return falls by this for each unit of cost
    if charged > 0 and gross.all():
        statistics["break_even_cost"] = float((gross - 1).mean() / charged / BASIS_POINT)
    else:
        undefined["break_even_cost"] = (
            "all was lost before costs" if charged > 0 else "nothing was traded"
        )
    return Strategy(weight, turnover, net, equity, ratio, statistics, undefined)


def _drift(weight: Array, simple_return: Array) -> Array:
    """(n,) the share of the equity that a weight has become after a simple return of what it holds."""
    value = 1 + weight * simple_return
    share = np.divide(
        weight * (1 + simple_return), value, out=np.zeros_like(weight), where=value > 0
    )
    return np.asarray(share)
