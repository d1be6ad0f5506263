"""Whether calls were better than chance: tests, intervals, and the adjustment for repeated trying.

A test is a `Test`, or None where it is undefined: no statistic here is ever NaN.
"""

from dataclasses import dataclass
from math import ceil, e, expm1, log1p, sqrt

import numpy as np
from scipy.stats import false_discovery_control, norm
from statsmodels.stats.diagnostic import pesaran_timmermann as pesaran_timmermann_test

from rnn_core.errors import ArrayError, ConfigError
from rnn_core.nn.arrays import Array

ALPHA, POWER = 0.05, 0.80
CHANCE = 0.5
FEWEST = 10  # values from which a block length is estimated


@dataclass(frozen=True)
class Test:
    """A statistic and the p-value it has under the null hypothesis."""

    statistic: float
    pvalue: float


@dataclass(frozen=True)
class Bootstrap:
    """A mean, its interval `low`..`high`, the one-sided p-value that it is above 0, and the mean block length used."""

    mean: float
    low: float
    high: float
    pvalue: float
    block: int


def pesaran_timmermann(up: Array, called: Array) -> Test | None:
    """Whether the calls called (n,) hit what happened, up (n,), more often than independent ones would; 0 or 1 each.

    S = (P − P*) / √(V(P) − V(P*)) ~ N(0, 1), with P the share of hits and P* the one that independence gives. The
    alternative is one-sided: more hits. Undefined, None, if either series is constant.

    S = √n · φ, the correlation of the two: the term of order n⁻² in V(P*) is left out, as statsmodels does.
    Pesaran and Timmermann, A Simple Nonparametric Test of Predictive Performance, JBES 10 (1992) 461–465.
    """
    if not (_varies(up) and _varies(called)):
        return None
    found = pesaran_timmermann_test(up, called, alternative="larger")
    return Test(float(found.statistic), float(found.pvalue))


def anatolyev_gerko(next_return: Array, called: Array) -> Test | None:
    """Whether trading on the calls called (n,), 0 or 1, earned more than random calls: log returns next_return (n,).

    EP = (A − B) / √V ~ N(0, 1), with A = mean(s·r) of the positions s = ±1, B = mean(s)·mean(r) and
    V = 4 n⁻² p(1 − p) Σ(r − r̄)², p the share of s = 1. The alternative is one-sided: more profit. Undefined, None, if
    either series is constant.

    Anatolyev and Gerko, A Trading Approach to Testing for Predictability, JBES 23 (2005) 455–461.
    """
    if not (_varies(next_return) and _varies(called)):
        return None
    side, share = 2 * called.astype(float) - 1, called.mean()
    excess = (side * next_return).mean() - side.mean() * next_return.mean()
    statistic = float(excess / sqrt(4 * share * (1 - share) * next_return.var() / len(called)))
    return Test(statistic, float(norm.sf(statistic)))


def diebold_mariano(loss_a: Array, loss_b: Array, horizon: int = 1) -> Test | None:
    """Whether the mean losses of two forecasts, loss_a and loss_b (n,), differ; a negative statistic: a is better.

    DM = d̄ / √(V(d̄)) with d = loss_a − loss_b, times √((n + 1 − 2h + h(h − 1)/n) / n), against Student's t with n − 1
    degrees of freedom, two-sided. V is the long-run variance with `horizon` − 1 lags (Bartlett's weights). Undefined,
    None, if d does not vary or n ≤ horizon.

    Diebold and Mariano, Comparing Predictive Accuracy, JBES 13 (1995) 253–263; Harvey, Leybourne and Newbold, Testing
    the Equality of Prediction Mean Squared Errors, IJF 13 (1997) 281–291.
    """
    from statsmodels.tsa.stattools import diebold_mariano_test  # 0.3 s

    if len(loss_a) <= max(horizon, 1) or not _varies(
        loss_a - loss_b, max(np.abs(loss_a).max(), np.abs(loss_b).max())
    ):
        return None
    options = {
        "criterion": lambda _, loss: loss,
        "lags": horizon - 1,
        "harvey_adj": True,
        "horizon": horizon,
    }
    found = diebold_mariano_test(loss_a, loss_a, loss_b, **options)
    return Test(float(found.statistic), float(found.pvalue))


def excess_hits(up: Array, called: Array) -> Array:
    """(n,) what each day adds to P − P*, the hits beyond those of independent calls: their mean is that difference.

    2 (up − mean) (called − mean) of up and called (n,), 0 or 1: for `bootstrap_mean`, as a check of
    Pesaran–Timmermann that allows for dependence over time.
    """
    return np.asarray(2 * (up - up.mean()) * (called - called.mean()))


def bootstrap_mean(
    values: Array, *, seed: int = 0, reps: int = 1000, confidence: float = 0.95
) -> Bootstrap | None:
    """Interval of the mean of a dependent series values (n,), and the one-sided p-value that it is above 0.

    Blocks of random length are drawn with replacement (Politis and Romano, The Stationary Bootstrap, JASA 89 (1994)
    1303–1313); their mean length is Politis and White's (2004), as corrected by Patton, Politis and White (2009).
    With means m* drawn around m, the interval is the basic one, 2m − quantiles of m*, and p the share of
    m* − m ≥ m, so `low` > 0 where p is below half of 1 − `confidence`. Undefined, None, for fewer than 10 values or
    constant ones.
    """
    if len(values) < FEWEST or not _varies(values):
        return None
    from arch.bootstrap import StationaryBootstrap, optimal_block_length  # 0.5 s

    with np.errstate(
        divide="ignore", invalid="ignore"
    ):  # a tail that does not vary has no autocorrelation
        length = float(optimal_block_length(values)["stationary"].iloc[0])
    block = ceil(length) if length > 1 else 1
    drawn = StationaryBootstrap(block, values, seed=np.random.default_rng(seed)).apply(_mean, reps)[
        :, 0
    ]
    mean, outside = float(values.mean()), (1 - confidence) / 2
    high, low = 2 * mean - np.quantile(drawn, [outside, 1 - outside])
    pvalue = (1 + np.count_nonzero(drawn >= 2 * mean)) / (1 + reps)
    return Bootstrap(mean, float(low), float(high), pvalue, block)


def days_needed(
    accuracy: float, *, alpha: float = ALPHA, power: float = POWER, null: float = CHANCE
) -> int | None:
    """Test days after which a one-sided test of `null` finds a true `accuracy` with `power`; None if it is not above.

    n = ((z₁₋ₐ √(p₀ (1 − p₀)) + z_power √(p (1 − p))) / (p − p₀))², to the nearest day: 616 for 0.55, 3,862 for 0.52.
    The normal approximation to the binomial test, such as Fleiss, Levin and Paik, Statistical Methods for Rates and
    Proportions (2003), section 2.4.
    """
    if not null < accuracy <= 1:
        return None
    spread = norm.ppf(1 - alpha) * sqrt(null * (1 - null)) + norm.ppf(power) * sqrt(
        accuracy * (1 - accuracy)
    )
    return round(float((spread / (accuracy - null)) ** 2))


def adjust(pvalue: float, trials: int) -> float:
    """The p-value of the best of `trials` independent tries, 1 − (1 − p)ᵏ (Šidák, JASA 62 (1967) 626–633).

    Raises:
        ConfigError: fewer than one trial; what is judged is one itself.
    """
    if trials < 1:
        raise ConfigError(
            f"trials {trials}: at least 1 is needed, the configuration that is judged"
        )
    return 1.0 if pvalue >= 1 else -expm1(trials * log1p(-pvalue))


def holm(pvalues: Array) -> Array:
    """Adjusted p-values (n,) of the tickers of a universe: the chance of any false find is held (Holm 1979).

    A ticker whose test is undefined enters as 1.

    Raises:
        ArrayError: a value is NaN or outside 0 … 1.
    """
    pvalues = _probabilities(pvalues)
    smallest_first = np.argsort(pvalues)
    times = pvalues[smallest_first] * np.arange(len(pvalues), 0, -1)
    adjusted = np.empty_like(pvalues)
    adjusted[smallest_first] = np.minimum(np.maximum.accumulate(times), 1)
    return adjusted


def benjamini_hochberg(pvalues: Array) -> Array:
    """Adjusted p-values (n,) of the tickers of a universe: the share of false finds is held.

    Benjamini and Hochberg (1995). A ticker whose test is undefined enters as 1.

    Raises:
        ArrayError: a value is NaN or outside 0 … 1.
    """
    return (
        np.asarray(false_discovery_control(_probabilities(pvalues)))
        if len(pvalues)
        else np.empty(0)
    )


def sharpe_error(sharpe: float, days: int, skew: float = 0.0, kurtosis: float = 3.0) -> float:
    """Standard error of a daily Sharpe ratio estimated from `days` returns of that skewness and (full) kurtosis.

    √((1 − skew · SR + (kurtosis − 1)/4 · SR²) / (n − 1)): Lo, The Statistics of Sharpe Ratios, FAJ 58 (2002) 36–52,
    for normal returns; Mertens (2002) for others.
    """
    return sqrt(max(0.0, 1 - skew * sharpe + (kurtosis - 1) / 4 * sharpe**2) / (days - 1))


def probabilistic_sharpe(
    sharpe: float, days: int, skew: float = 0.0, kurtosis: float = 3.0, benchmark: float = 0.0
) -> float | None:
    """Probability that the true Sharpe ratio is above `benchmark`, both daily: Φ((SR − SR*) / error of SR).

    Bailey and López de Prado, The Sharpe Ratio Efficient Frontier, Journal of Risk 15 (2012). Undefined, None, for
    fewer than two days or where the error is 0.
    """
    error = sharpe_error(sharpe, days, skew, kurtosis) if days > 1 else 0.0
    return float(norm.cdf((sharpe - benchmark) / error)) if error > 0 else None


def deflated_sharpe(
    sharpe: float,
    days: int,
    trials: int,
    skew: float = 0.0,
    kurtosis: float = 3.0,
    variance: float | None = None,
) -> float | None:
    """Probability that the true daily Sharpe ratio is above what the best of `trials` without skill would show.

    The benchmark of `probabilistic_sharpe` is √V ((1 − γ) Φ⁻¹(1 − 1/N) + γ Φ⁻¹(1 − 1/(N e))), γ Euler's constant, and 0
    for one trial. V, `variance`, is that of the daily Sharpe ratios of the trials; if it is not known, that of
    the estimate without skill, 1 / (days − 1). Undefined, None, as there.

    Bailey and López de Prado, The Deflated Sharpe Ratio, Journal of Portfolio Management 40 (2014) 94–107.

    Raises:
        ConfigError: fewer than one trial, or a variance below 0.
    """
    if trials < 1 or (variance is not None and variance < 0):
        raise ConfigError(
            f"trials {trials}, variance {variance}: at least 1 trial and a variance of 0 or more"
        )
    if days < 2:
        return None
    gamma, spread = np.euler_gamma, sqrt(1 / (days - 1) if variance is None else variance)
    best = 0.0
    if trials > 1:
        best = float(
            (1 - gamma) * norm.ppf(1 - 1 / trials) + gamma * norm.ppf(1 - 1 / (trials * e))
        )
    return probabilistic_sharpe(sharpe, days, skew, kurtosis, spread * best)


def _mean(values: Array) -> Array:
    return np.atleast_1d(values.mean())


def _varies(values: Array, scale: float | None = None) -> bool:
    """Whether the values differ by more than rounding, beside `scale` or the largest of them."""
    if len(values) == 0:
        return False
    lowest, highest = float(values.min()), float(values.max())
    return highest - lowest > 1e-12 * (max(-lowest, highest) if scale is None else scale)


def _probabilities(pvalues: Array) -> Array:
    pvalues = np.asarray(pvalues, dtype=float)
    if not ((pvalues >= 0) & (pvalues <= 1)).all():
        raise ArrayError(
            f"p-values {pvalues}: numbers from 0 to 1 are expected; an undefined test enters as 1"
        )
    return pvalues
