"""Tests of whether calls tell the direction of the outcomes, alone or given the base rate.

A test returns None if it is undefined. Below `FEW_DAYS` it is exact: there the normal distribution
finds too much, 9.3 % instead of 5 % at three days.
"""

from math import sqrt
from typing import NamedTuple

import numpy as np
from scipy.stats import hypergeom, norm
from statsmodels.stats.diagnostic import pesaran_timmermann as pesaran_timmermann_test

from rnn_core.evaluation.significance import FEW_DAYS, Test, varies
from rnn_core.nn.arrays import Array


def pesaran_timmermann(up: Array, called: Array) -> Test | None:
    """Test whether calls (n,) hit the outcomes up (n,) more often than independent ones; 0 or 1.

    S = (P − P*) / √(V(P) − V(P*)) ~ N(0, 1), with P the share of hits and P* its value under
    independence. The alternative is one-sided: more hits. None if either series is constant. Below
    `FEW_DAYS` the p-value is Fisher's exact one.

    S = √n · φ, the correlation of the two: as statsmodels does, this leaves out the term of order
    n⁻² in V(P*). Pesaran and Timmermann, A Simple Nonparametric Test of Predictive Performance,
    JBES 10 (1992) 461–465.
    """
    if not (varies(up) and varies(called)):
        return None
    result = pesaran_timmermann_test(up, called, alternative="larger")
    if len(up) < FEW_DAYS:
        counts = _counts(up, called, np.zeros(len(up), int))
        return Test(float(result.statistic), _exact(counts))
    return Test(float(result.statistic), float(result.pvalue))


def within_strata(up: Array, forecast: Array, stratum: Array) -> Test | None:
    """Test whether the outcomes up (n,), 0 or 1, rise with a forecast (n,) within each stratum.

    z = Σ u f / √Σₖ Σu² Σf² / (nₖ − 1) ~ N(0, 1), with u and f the deviations of up and forecast
    from the means of their stratum k of nₖ days. The alternative is one-sided: they rise. Whatever
    moves a stratum's share of ups and its forecasts together, as a drifting base rate does, is
    nothing found. None if in no stratum both vary.

    It is the score test of a logistic regression on the forecast with an effect of each stratum,
    for forecasts of 0 and 1 that of Cochran, Biometrics 10 (1954) 417–451. Mantel, JASA 58 (1963)
    690–700, has it for any score, without correction for continuity. Below `FEW_DAYS` the forecast
    must be 0 or 1 and the p-value is exact: the number of hits is a sum of hypergeometric ones.

    Args:
        up: (n,) 0 or 1.
        forecast: (n,) probabilities, or calls of 0 or 1.
        stratum: (n,) the label of each day's stratum.
    """
    _, number = np.unique(stratum, return_inverse=True)
    days = np.bincount(number)
    up_deviation = up - (np.bincount(number, up) / days)[number]
    deviation = forecast - (np.bincount(number, forecast) / days)[number]
    variance = (
        np.bincount(number, up_deviation**2)
        * np.bincount(number, deviation**2)
        / np.maximum(days - 1, 1)
    )
    if not _vary_together(up, forecast, number):
        return None
    statistic = float(up_deviation @ deviation / sqrt(variance.sum()))
    if len(up) < FEW_DAYS:
        return Test(statistic, _exact(_counts(up, forecast, stratum)))
    return Test(statistic, float(norm.sf(statistic)))


def _vary_together(up: Array, forecast: Array, number: Array) -> bool:
    """Return True if in some stratum both vary by more than rounding."""
    return any(
        varies(up[number == stratum]) and varies(forecast[number == stratum], scale=1.0)
        for stratum in range(number.max(initial=-1) + 1)
    )


def strata(fold: Array, fewest: int) -> Array:
    """Return the stratum (n,) of each day from its fold (n,), numbers in ascending order.

    A stratum is a fold; folds that begin within the same `fewest` days share one, for a fold of few
    days says little about its share of ups.

    >>> strata(np.array([0, 0, 0, 1, 1, 1, 2]), fewest=3)
    array([0, 0, 0, 1, 1, 1, 2])
    >>> strata(np.array([0, 1, 2, 3]), fewest=2)
    array([0, 0, 1, 1])
    """
    first = np.searchsorted(fold, fold)  # the day with which a day's fold begins
    return np.asarray(first // fewest)


def anatolyev_gerko(next_return: Array, called: Array) -> Test | None:
    """Test whether trading on calls (n,), 0 or 1, earned more than random calls would.

    EP = (A − B) / √V ~ N(0, 1), with A = mean(s·r) of the positions s = ±1 and the log returns r
    (n,), B = mean(s)·mean(r) and V = 4 n⁻² p(1 − p) Σ(r − r̄)², p the share of s = 1. The
    alternative is one-sided: more profit. None if either series is constant.

    Anatolyev and Gerko, A Trading Approach to Testing for Predictability, JBES 23 (2005) 455–461.
    """
    if not (varies(next_return) and varies(called)):
        return None
    side = 2 * called.astype(float) - 1
    share = called.mean()
    excess = (side * next_return).mean() - side.mean() * next_return.mean()
    variance = 4 * share * (1 - share) * next_return.var() / len(called)
    statistic = float(excess / sqrt(variance))
    return Test(statistic, float(norm.sf(statistic)))


def excess_hits(up: Array, called: Array) -> Array:
    """Return what each day (n,) adds to P − P*, the hits beyond those of independent calls.

    It is 2 (up − mean) (called − mean) of up and called (n,), 0 or 1, so its mean is P − P*. With
    `bootstrap_mean` it checks Pesaran–Timmermann in a way that allows for dependence over time.

    >>> excess_hits(np.array([1, 0, 1, 0]), np.array([1, 0, 1, 1]))
    array([ 0.25,  0.75,  0.25, -0.25])
    """
    return np.asarray(2 * (up - up.mean()) * (called - called.mean()))


class _Counts(NamedTuple):
    """Counts (K,) of K strata: days, those that closed up, those called up, and those with both."""

    days: Array
    ups: Array
    calls: Array
    hits: Array


def _counts(up: Array, called: Array, stratum: Array) -> _Counts:
    _, number = np.unique(stratum, return_inverse=True)
    return _Counts(
        days=np.bincount(number),
        ups=np.bincount(number, up).astype(int),
        calls=np.bincount(number, called).astype(int),
        hits=np.bincount(number, up * called).astype(int),
    )


def _exact(counts: _Counts) -> float:
    """Return the probability of as many hits or more, given the shares of each stratum."""
    distribution = np.ones(1)
    lowest = 0
    for days, ups, calls, _ in zip(*counts, strict=True):
        fewest = max(0, ups + calls - days)
        possible = np.arange(fewest, min(ups, calls) + 1)
        distribution = np.convolve(distribution, hypergeom.pmf(possible, days, ups, calls))
        lowest += fewest
    return min(1.0, float(distribution[counts.hits.sum() - lowest :].sum()))
