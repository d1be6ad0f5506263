"""Tests of losses and returns, intervals, power, and adjustments for many trials.

A test returns None if it is undefined: no statistic here is ever NaN.
"""

from dataclasses import dataclass
from math import ceil, e, log, sqrt

import numpy as np
from scipy.optimize import brentq
from scipy.stats import false_discovery_control, norm

from rnn_core.errors import ArrayError, ConfigError
from rnn_core.evaluation.metrics import CHANCE, CONFIDENCE
from rnn_core.nn.arrays import Array

ALPHA = 0.05
POWER = 0.80
DRAWS = 1_000_000  # of a bootstrap: p has a standard error of 0.0005, of 0.0015 in blocks of 30
ROUNDING = 1e-12  # of a sum of bounded values: what is closer to a threshold is taken to reach it
FEWEST = 10  # values from which a block length is estimated
FEW_DAYS = 50  # below this number a test is exact, or not done


@dataclass(frozen=True)
class Test:
    """A statistic and the p-value it has under the null hypothesis."""

    statistic: float
    pvalue: float


@dataclass(frozen=True)
class Bootstrap:
    """A bootstrapped mean.

    Attributes:
        mean: of the values.
        low: lower end of its interval.
        high: upper end of its interval.
        pvalue: one-sided, of the mean being above 0.
        block: mean block length that was used.
    """

    mean: float
    low: float
    high: float
    pvalue: float
    block: int


def diebold_mariano(loss_a: Array, loss_b: Array, horizon: int = 1) -> Test | None:
    """Test whether the mean losses of two forecasts, loss_a and loss_b (n,), differ.

    A negative statistic says that a is better. DM = d̄ / √(V(d̄)) with d = loss_a − loss_b, times
    √((n + 1 − 2h + h(h − 1)/n) / n), against Student's t with n − 1 degrees of freedom, two-sided.
    V is the long-run variance with `horizon` − 1 lags (Bartlett's weights). None if d does not vary
    or n ≤ horizon.

    Diebold and Mariano, Comparing Predictive Accuracy, JBES 13 (1995) 253–263; Harvey, Leybourne
    and Newbold, Testing the Equality of Prediction Mean Squared Errors, IJF 13 (1997) 281–291.
    """
    from statsmodels.tsa.stattools import diebold_mariano_test  # 0.3 s

    if len(loss_a) <= max(horizon, 1):
        return None
    largest = max(np.abs(loss_a).max(), np.abs(loss_b).max())
    if not varies(loss_a - loss_b, largest):
        return None
    result = diebold_mariano_test(
        loss_a,
        loss_a,
        loss_b,
        criterion=lambda _, loss: loss,
        lags=horizon - 1,
        harvey_adj=True,
        horizon=horizon,
    )
    return Test(float(result.statistic), float(result.pvalue))


def bootstrap_mean(
    values: Array, *, seed: int = 0, draws: int = DRAWS, confidence: float = CONFIDENCE
) -> Bootstrap | None:
    """Bootstrap the mean of a dependent series (n,): its interval and its p-value.

    Blocks of random length are drawn with replacement (Politis and Romano, The Stationary
    Bootstrap, JASA 89 (1994) 1303–1313); their mean length is Politis and White's (2004), as
    corrected by Patton, Politis and White (2009). With means m* drawn around m, the interval is the
    basic one, 2m − quantiles of m*, and p is the share of m* − m ≥ m, so `low` > 0 if p is below
    half of 1 − `confidence`. None for fewer than 10 values or constant ones.
    """
    if len(values) < FEWEST or not varies(values):
        return None
    block = block_length(values)
    deviations = _Redrawn(len(values), block, seed, draws).deviations(values)
    mean = float(values.mean())
    outside = (1 - confidence) / 2
    high, low = mean - np.quantile(deviations, [outside, 1 - outside])
    return Bootstrap(mean, float(low), float(high), _share(deviations, mean), block)


def mean_above_zero(values: Array) -> Test | None:
    """Test whether the mean of a dependent series (n,) is above 0, one-sided.

    t = mean / its standard error by Newey and West (Econometrica 55, 1987, 703–708) with
    4 (n / 100)^(2/9) lags, against the normal distribution. None for fewer than `FEW_DAYS` values
    or constant ones.
    """
    from statsmodels.regression.linear_model import OLS

    if len(values) < FEW_DAYS or not varies(values):
        return None
    lags = {"maxlags": int(4 * (len(values) / 100) ** (2 / 9))}
    fitted = OLS(values, np.ones_like(values)).fit(cov_type="HAC", cov_kwds=lags)
    statistic = float(fitted.tvalues[0])
    return Test(statistic, float(norm.sf(statistic)))


def superior(benchmark: Array, losses: Array, *, seed: int = 0, draws: int = DRAWS) -> Test | None:
    """Test whether the best of k forecasts, losses (n, k), beats the losses (n,) of a benchmark.

    The statistic is the largest mean gain, and its distribution that of the largest of the k
    bootstrapped means, each around 0: a forecast that is worse than the benchmark by more than
    √(2 log log n) standard errors is left where it is. So the p-value pays for having k to choose
    from. This is the consistent one of Hansen, A Test for Superior Predictive Ability, JBES 23
    (2005) 365–380. Blocks are drawn as in `bootstrap_mean`; their mean length is the longest that
    a gain asks for. None for fewer than 10 losses or if no gain varies.
    """
    gains = benchmark[:, None] - losses  # (n, k)
    varying = [gain for gain in gains.T if varies(gain)]
    if len(gains) < FEWEST or not varying:
        return None
    redrawn = _Redrawn(len(gains), max(map(block_length, varying)), seed, draws)
    highest = np.array(-np.inf)
    for gain in gains.T:
        deviations = redrawn.deviations(gain)
        far_below = gain.mean() < -deviations.std() * sqrt(2 * log(log(len(gains))))
        highest = np.maximum(highest, deviations + (gain.mean() if far_below else 0))
    best = float(gains.mean(axis=0).max())
    return Test(best, _share(highest, best))


class _Redrawn:
    """How often each of n days is drawn by a stationary bootstrap of about `draws` draws.

    Blocks go around the circle. So a pattern of drawn days is as likely as the same one turned by
    any number of days, and each pattern gives n draws: their means are the correlation of the
    series with how often its days are drawn, by FFT. The turns of a pattern are nearly independent
    draws if the days are; the longer the blocks, the less each of them adds.
    """

    def __init__(self, n: int, block: int, seed: int, draws: int) -> None:
        rng = np.random.default_rng(seed)
        patterns = -(-draws // n)
        day = np.arange(n)
        began = np.where(rng.random((patterns, n)) < 1 / block, day, 0)  # of the block of each day
        np.maximum.accumulate(began, axis=1, out=began)
        starts = np.take_along_axis(rng.integers(n, size=began.shape), began, axis=1)
        drawn = (starts + day - began) % n + n * np.arange(patterns)[:, None]
        times = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)
        self._spectrum = np.fft.rfft(times).conj()

    def deviations(self, values: Array) -> Array:
        """Return the redrawn means of a series (n,) less its own, (patterns, n)."""
        n = len(values)
        return np.fft.irfft(self._spectrum * np.fft.rfft(values - values.mean()), n) / n


def _share(draws: Array, least: float) -> float:
    """Return the share of draws that reach `least`, itself counted as one of them."""
    rounding = ROUNDING * float(np.abs(draws).max())
    return float((1 + np.count_nonzero(draws >= least - rounding)) / (1 + draws.size))


def block_length(values: Array) -> int:
    """Return the mean length of the blocks in which a bootstrap draws a series (n,), 1 or more.

    It is that of Politis and White (2004), as corrected by Patton, Politis and White (2009).
    """
    from arch.bootstrap import optimal_block_length

    # A tail that does not vary has no autocorrelation
    with np.errstate(divide="ignore", invalid="ignore"):
        length = float(optimal_block_length(values)["stationary"].iloc[0])
    return ceil(length) if length > 1 else 1


def days_needed(
    accuracy: float, *, alpha: float = ALPHA, power: float = POWER, null: float = CHANCE
) -> int | None:
    """Return the test days after which a one-sided test finds a true `accuracy` with `power`.

    n = ((z₁₋ₐ √(p₀ (1 − p₀)) + z_power √(p (1 − p))) / (p − p₀))², to the nearest day, with
    p₀ = `null`. None if the accuracy is not above it. The normal approximation to the binomial
    test: Fleiss, Levin and Paik, Statistical Methods for Rates and Proportions (2003), section 2.4.

    >>> days_needed(0.55), days_needed(0.52), days_needed(0.5)
    (616, 3862, None)
    """
    if not null < accuracy <= 1:
        return None
    return round(_days_needed(accuracy, alpha, power, null))


def _days_needed(accuracy: float, alpha: float, power: float, null: float) -> float:
    under_null = norm.ppf(1 - alpha) * sqrt(null * (1 - null))
    under_accuracy = norm.ppf(power) * sqrt(accuracy * (1 - accuracy))
    return float(((under_null + under_accuracy) / (accuracy - null)) ** 2)


def detectable_accuracy(days: int, *, alpha: float = ALPHA, power: float = POWER) -> float | None:
    """Return the true accuracy that a one-sided test finds with `power` in `days` test days.

    It is the inverse of `days_needed`, for a forecaster who knows from the first day what there is
    to know. None if not even an accuracy of 1 is found: below 3 days.

    >>> round(detectable_accuracy(616), 3), round(detectable_accuracy(3862), 3)
    (0.55, 0.52)
    """

    def days_missing(accuracy: float) -> float:
        return _days_needed(accuracy, alpha, power, CHANCE) - days

    if days < 1 or days_missing(1.0) > 0:
        return None
    return float(brentq(days_missing, CHANCE + 1e-6, 1.0)) if days_missing(1.0) < 0 else 1.0


def holm(pvalues: Array) -> Array:
    """Return p-values (n,) adjusted so that the chance of any false finding is held (Holm, 1979).

    A ticker whose test is undefined enters as 1.

    Raises:
        ArrayError: a value is NaN or outside 0 … 1.

    >>> holm(np.array([0.01, 0.04, 0.03]))
    array([0.03, 0.06, 0.06])
    """
    pvalues = _probabilities(pvalues)
    smallest_first = np.argsort(pvalues)
    multiplied = pvalues[smallest_first] * np.arange(len(pvalues), 0, -1)
    adjusted = np.empty_like(pvalues)
    adjusted[smallest_first] = np.minimum(np.maximum.accumulate(multiplied), 1)
    return adjusted


def benjamini_hochberg(pvalues: Array) -> Array:
    """Return p-values (n,) adjusted so that the share of false findings is held.

    Benjamini and Hochberg (1995). A ticker whose test is undefined enters as 1.

    Raises:
        ArrayError: a value is NaN or outside 0 … 1.

    >>> benjamini_hochberg(np.array([0.01, 0.04, 0.03]))
    array([0.03, 0.04, 0.04])
    """
    if len(pvalues) == 0:
        return np.empty(0)
    return np.asarray(false_discovery_control(_probabilities(pvalues)))


def sharpe_error(sharpe: float, days: int, skew: float = 0.0, kurtosis: float = 3.0) -> float:
    """Return the standard error of a daily Sharpe ratio from `days` returns.

    √((1 − skew · SR + (kurtosis − 1)/4 · SR²) / (n − 1)), with full kurtosis: Lo, The Statistics of
    Sharpe Ratios, FAJ 58 (2002) 36–52, for normal returns; Mertens (2002) for others.

    >>> round(sharpe_error(0.05, 252), 4)
    0.0632
    """
    variance = max(0.0, 1 - skew * sharpe + (kurtosis - 1) / 4 * sharpe**2)
    return sqrt(variance / (days - 1))


def probabilistic_sharpe(
    sharpe: float, days: int, skew: float = 0.0, kurtosis: float = 3.0, benchmark: float = 0.0
) -> float | None:
    """Return the probability that the true Sharpe ratio is above `benchmark`, both daily.

    Φ((SR − SR*) / error of SR): Bailey and López de Prado, The Sharpe Ratio Efficient Frontier,
    Journal of Risk 15 (2012). None for fewer than two days or an error of 0.
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
    benchmark: float = 0.0,
) -> float | None:
    """Return the probability that the true ratio is above the best of `trials` without skill.

    All ratios are daily. Without skill an account has the ratio `benchmark`, such as that of buy
    and hold, which is taken as known. That of `probabilistic_sharpe` is `benchmark` +
    √V ((1 − γ) Φ⁻¹(1 − 1/N) + γ Φ⁻¹(1 − 1/(N e))), with γ Euler's constant, and 0 for one trial.
    V, `variance`, is that of the Sharpe ratios of the trials; if it is not known, that of an
    estimate without skill, 1 / (days − 1). None as in `probabilistic_sharpe`.

    Bailey and López de Prado, The Deflated Sharpe Ratio, Journal of Portfolio Management 40 (2014)
    94–107.

    Raises:
        ConfigError: fewer than one trial, or a variance below 0.
    """
    if trials < 1:
        raise ConfigError(f"trials must be at least 1 (got {trials})")
    if variance is not None and variance < 0:
        raise ConfigError(f"variance must be 0 or more (got {variance})")
    if days < 2:
        return None
    spread = sqrt(1 / (days - 1) if variance is None else variance)
    best = benchmark + spread * _expected_best(trials)
    return probabilistic_sharpe(sharpe, days, skew, kurtosis, best)


def varies(values: Array, scale: float | None = None) -> bool:
    """Return True if the values differ by more than the rounding of `scale`, their largest."""
    if len(values) == 0:
        return False
    lowest = float(values.min())
    highest = float(values.max())
    largest = max(-lowest, highest) if scale is None else scale
    return highest - lowest > 1e-12 * largest


def _expected_best(trials: int) -> float:
    """Return the expected largest of that many standard normal values."""
    if trials == 1:
        return 0.0
    gamma = np.euler_gamma
    typical = norm.ppf(1 - 1 / trials)
    extreme = norm.ppf(1 - 1 / (trials * e))
    return float((1 - gamma) * typical + gamma * extreme)


def _probabilities(pvalues: Array) -> Array:
    pvalues = np.asarray(pvalues, dtype=float)
    if not ((pvalues >= 0) & (pvalues <= 1)).all():
        raise ArrayError(
            f"p-values must be numbers from 0 to 1, an undefined test's being 1 (got {pvalues})"
        )
    return pvalues
