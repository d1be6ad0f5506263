"""Compare two runs on the test days that both have forecast: whose log loss is lower, and when."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any, Final

import numpy as np
import pandas as pd
from scipy.fft import dct
from scipy.stats import t as student

from rnn_core.errors import ConfigError
from rnn_core.evaluation.metrics import called_up, log_losses
from rnn_core.evaluation.significance import FEW_DAYS, varies
from rnn_core.nn.arrays import Array

LEVEL = 0.01  # two-sided: of 200 pairs without a difference at most 10 are then told apart
VOLATILITY_DAYS = 20  # returns in the trailing volatility
TERCILES = ("low", "middle", "high")
COLUMNS = ["probability_a", "probability_b", "up_a", "up_b", "loss_a", "loss_b"]
SAME_RETURN = 1e-6  # returns closer than this are the same: prices were only rounded
FEW_OTHER_OUTCOMES = 0.01  # share of common days: so few are corrected prices, not another question

NO_DIFFERENCE: Final = "no difference"
TOO_FEW: Final = "too few days"
OTHER_QUESTION: Final = "not the same question"


@dataclass(frozen=True)
class Mean:
    """The mean of a dependent series.

    Attributes:
        value: the mean.
        low: lower end of its interval of 1 − `LEVEL`; None if undefined.
        high: its upper end; None if undefined.
        pvalue: two-sided, of the mean being 0; None if undefined.
    """

    value: float
    low: float | None = None
    high: float | None = None
    pvalue: float | None = None


@dataclass(frozen=True)
class Difference:
    """How two runs, A and B, did on the same days, and the paired differences A − B.

    Attributes:
        days: how many there are.
        losses: mean log loss of A and of B, in nats.
        accuracies: share of right calls of A and of B.
        loss: difference in log loss, in nats; below 0, A is better.
        accuracy: difference in accuracy; above 0, A is better.
    """

    days: int
    losses: tuple[float, float]
    accuracies: tuple[float, float]
    loss: Mean
    accuracy: Mean


@dataclass(frozen=True)
class Comparison:
    """Two runs, A and B, on the days that both have forecast.

    Attributes:
        calls: a row a common day, by date: `probability_a`, `probability_b`, the outcomes `up_a`,
            `up_b`, and the log losses `loss_a`, `loss_b`.
        days: test days of A and of B, common or not.
        other_outcomes: common days on which the outcome of A is not that of B, and not by rounding.
        return_gap: largest distance of the next return of A from that of B, log.
        overall: the difference over all common days; the headline rests on it alone.
        by_year: the same by calendar year.
        by_volatility: the same by the tercile of the volatility before the call.
    """

    calls: pd.DataFrame
    days: tuple[int, int]
    other_outcomes: int
    return_gap: float
    overall: Difference
    by_year: Mapping[str, Difference]
    by_volatility: Mapping[str, Difference]

    @property
    def same_question(self) -> bool:
        """True if the outcomes differ on no more than a small share of the common days."""
        return self.other_outcomes <= FEW_OTHER_OUTCOMES * self.overall.days

    @property
    def headline(self) -> str:
        """Who is better, or why nobody is said to be."""
        loss = self.overall.loss
        if not self.same_question:
            return OTHER_QUESTION
        if self.overall.days < FEW_DAYS:
            return TOO_FEW
        if loss.pvalue is None or loss.pvalue > LEVEL:
            return NO_DIFFERENCE
        better = "A" if loss.value < 0 else "B"
        return f"{better} is better by {abs(loss.value):.4f} nats (p {loss.pvalue:.2g})"

    @property
    def reason(self) -> str:
        """One sentence: what the headline rests on."""
        days = self.overall.days
        if not self.same_question:
            return (
                f"the outcomes differ on {self.other_outcomes} of {days} common days, so each run "
                "is measured by its own and the differences do not say who is better"
            )
        loss_a, loss_b = self.overall.losses
        losses = f"log loss {loss_a:.4f} of A, {loss_b:.4f} of B, over {days} common days"
        if days < FEW_DAYS:
            return f"{losses}; a test needs {FEW_DAYS}"
        return f"{losses}; {_tested(self.overall.loss)}"


def compare(a: pd.DataFrame, b: pd.DataFrame) -> Comparison:
    """Compare the calls of run A with those of run B on their common days.

    The verdict is that of one test over all common days. Years and terciles have intervals and no
    p-value of their own, as some of many would be small by chance. A tercile is that of the
    standard deviation of the last 20 returns among all such deviations so far, so the group of a
    day is known when the call is made; days before there are 20 of them belong to none.

    Args:
        a: a row a test day, by date: `probability` of closing up, `up` (0 or 1), `next_return`.
        b: the same of B.

    Raises:
        ConfigError: no test day is common.
    """
    pairs = a.add_suffix("_a").join(b.add_suffix("_b"), how="inner")
    if pairs.empty:
        raise ConfigError(f"runs have no test day in common: A has {_span(a)}, B {_span(b)}")
    calls = pairs.assign(loss_a=_losses(pairs, "a"), loss_b=_losses(pairs, "b"))
    returns = a["next_return"].combine_first(b["next_return"])
    tercile = volatility_terciles(returns).reindex(calls.index)
    moves = calls[["next_return_a", "next_return_b"]].abs().max(axis="columns")
    other_outcomes = (calls["up_a"] != calls["up_b"]) & (moves > SAME_RETURN)
    return Comparison(
        calls=calls[COLUMNS],
        days=(len(a), len(b)),
        other_outcomes=int(other_outcomes.sum()),
        return_gap=float((calls["next_return_a"] - calls["next_return_b"]).abs().max()),
        overall=_difference(calls),
        by_year=_by(calls, pd.DatetimeIndex(calls.index).strftime("%Y")),
        by_volatility=_by(calls, tercile),
    )


def mean_with_interval(values: Array) -> Mean:
    """Return the mean of a dependent series (n,), its interval and its p-value.

    t = x̄ / √(Ω / n) against Student's t with ν = ⌊0.4 n^⅔⌋ degrees of freedom. The long-run
    variance Ω is the mean square of the first ν cosine transforms of the series, so it counts
    dependence over time, and t has the right size in small samples too. Undefined for fewer than
    `FEW_DAYS` values or constant ones.

    Lazarus, Lewis, Stock and Watson, HAR Inference: Recommendations for Practice, JBES 36 (2018)
    541–559; of differences in loss, Coroneo and Iacone, Comparing Predictive Accuracy in Small
    Samples Using Fixed-Smoothing Asymptotics, J. Applied Econometrics 35 (2020) 391–409.

    >>> mean_with_interval(np.tile([1.0, 3.0], 50)).value
    2.0
    """
    mean = float(values.mean())
    if len(values) < FEW_DAYS or not varies(values):
        return Mean(mean)
    freedom = int(0.4 * len(values) ** (2 / 3))
    waves = dct(values, norm="ortho")[1 : freedom + 1]
    error = sqrt(float(np.mean(waves**2)) / len(values))
    reach = float(student.isf(LEVEL / 2, freedom)) * error
    pvalue = 2 * float(student.sf(abs(mean) / error, freedom))
    return Mean(mean, mean - reach, mean + reach, pvalue)


def volatility_terciles(next_return: "pd.Series[float]") -> "pd.Series[Any]":
    """Return the tercile of the volatility before each call, by date: `low`, `middle` or `high`.

    `next_return` are the log returns that follow each call; the last one that a call knows is that
    of the row before. A volatility is ranked among those up to its own day. NaN where fewer than
    `VOLATILITY_DAYS` returns or volatilities are known.
    """
    volatility = next_return.shift(1).rolling(VOLATILITY_DAYS).std()
    rank = volatility.expanding(VOLATILITY_DAYS).rank(pct=True)
    return pd.cut(rank, [0, 1 / 3, 2 / 3, 1], labels=TERCILES)


def _losses(pairs: pd.DataFrame, run: str) -> Array:
    return log_losses(pairs[f"up_{run}"].to_numpy(), pairs[f"probability_{run}"].to_numpy())


def _hits(calls: pd.DataFrame, run: str) -> Array:
    called = called_up(calls[f"probability_{run}"])
    return np.asarray(called == calls[f"up_{run}"], float)


def _by(calls: pd.DataFrame, group: Any) -> dict[str, Difference]:
    return {name: _difference(days) for name, days in calls.groupby(group, observed=True)}


def _difference(calls: pd.DataFrame) -> Difference:
    loss_a = calls["loss_a"].to_numpy()
    loss_b = calls["loss_b"].to_numpy()
    hits_a = _hits(calls, "a")
    hits_b = _hits(calls, "b")
    return Difference(
        days=len(calls),
        losses=(float(loss_a.mean()), float(loss_b.mean())),
        accuracies=(float(hits_a.mean()), float(hits_b.mean())),
        loss=mean_with_interval(loss_a - loss_b),
        accuracy=mean_with_interval(hits_a - hits_b),
    )


def _tested(loss: Mean) -> str:
    if loss.low is None or loss.high is None:
        return "the losses differ on no day, or alike on all"
    return (
        f"A − B is {loss.value:+.4f} nats ({1 - LEVEL:.0%} interval {loss.low:+.4f} to "
        f"{loss.high:+.4f}, p {loss.pvalue:.2g})"
    )


def _span(calls: pd.DataFrame) -> str:
    days = calls.index
    return f"{len(days)} ({days[0]:%Y-%m-%d} to {days[-1]:%Y-%m-%d})"
