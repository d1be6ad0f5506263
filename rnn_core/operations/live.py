"""The live record of settled forecasts, and the alarms that a user should see."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import e
from typing import Literal

import numpy as np
import pandas as pd
from scipy.special import lambertw
from scipy.stats import ks_2samp

from rnn_core.evaluation.metrics import called_up, scores
from rnn_core.evaluation.significance import ALPHA, holm
from rnn_core.nn.arrays import Array, check_array

NARROWEST_AFTER = 250  # sessions: the confidence sequence is narrowest after about a year


@dataclass(frozen=True)
class LiveRecord:
    """Accuracy of the settled forecasts, and what their models had promised.

    A promise is the walk-forward of the model that made the forecast; the promises here are means
    over the forecasts.

    Attributes:
        days: settled forecasts.
        hits: forecasts that were right.
        accuracy: hits / days.
        low: lower end of the confidence sequence of the accuracy after the last day.
        high: its upper end.
        log_loss: mean, in nats.
        brier: mean squared distance of the probability from the outcome, 0 or 1.
        promised_accuracy: accuracy of the walk-forward.
        promised_low: lower end of its 95 % interval.
        promised_high: its upper end.
        promised_log_loss: log loss of the walk-forward, in nats.
    """

    days: int
    hits: int
    accuracy: float
    low: float
    high: float
    log_loss: float
    brier: float
    promised_accuracy: float
    promised_low: float
    promised_high: float
    promised_log_loss: float


@dataclass(frozen=True)
class Replays:
    """The forecasts that do not count as live; no part of any live record, interval or alarm.

    Attributes:
        forecasts: how many there are.
        settled: those with a known outcome.
        hits: those that were right.
    """

    forecasts: int
    settled: int
    hits: int

    def __str__(self) -> str:
        """Return the count, and the hit rate of those with a known outcome."""
        if not self.settled:
            return f"{self.forecasts}"
        return f"{self.forecasts}, {self.hits / self.settled:.1%} of {self.settled} right"


@dataclass(frozen=True)
class Alarm:
    """A finding that a user should look at: its kind, and one sentence with the figures."""

    kind: Literal["performance", "drift", "stale", "closure", "settlement", "champion"]
    text: str


def confidence_sequence(
    hits: Array, *, alpha: float = ALPHA, tightest: int = NARROWEST_AFTER
) -> tuple[Array, Array]:
    """Return intervals of the accuracy after each day that hold on all days at once.

    With probability 1 − `alpha` the mean chance of a hit so far lies in its interval on every day,
    however often and for however long one looks. The chance may change from day to day, also in
    response to earlier hits. With V = t/4 after day t, the interval is

        mean ± √((V + ρ) log((V + ρ) / (ρ α²))) / t,

    cut to [0, 1]: the two-sided normal mixture bound (Robbins 1970; Howard, Ramdas, McAuliffe and
    Sekhon, Time-uniform, Nonparametric, Nonasymptotic Confidence Sequences, AoS 49 (2021)
    1055–1080, equation 14). It applies since a value in [0, 1] is sub-Gaussian with variance ¼
    (Hoeffding 1963). ρ = V / (−W₋₁(−α²/e) − 1) makes the interval the narrowest possible after
    `tightest` days. If the chance changes, an early interval need not contain a later mean;
    therefore the intervals are not intersected.

    Args:
        hits: (n,) 0 or 1, by day.
        alpha: probability that some interval misses.
        tightest: days after which the interval is narrowest.

    Returns:
        Lower ends (n,) and upper ends (n,).

    >>> low, high = confidence_sequence(np.ones(1000))
    >>> low[[0, 59, 249, 999]].round(3).tolist()
    [0.0, 0.789, 0.904, 0.95]
    """
    days = np.arange(1, len(hits) + 1)
    variance = days / 4
    rho = tightest / 4 / (-lambertw(-(alpha**2) / e, -1).real - 1)
    margin = np.sqrt((variance + rho) * np.log((variance + rho) / (rho * alpha**2))) / days
    accuracy = np.cumsum(hits) / days
    return np.maximum(accuracy - margin, 0), np.minimum(accuracy + margin, 1)


def in_live_record(forecasts: pd.DataFrame) -> "pd.Series[bool]":
    """Return a mask of the rows of the ledger that make the live record.

    They are the forecasts that count and whose outcome is known. A replay never counts, and of the
    live forecasts of a session the first one does. `forecasts` has the columns of
    `Ledger.forecasts`.

    >>> forecasts = pd.DataFrame({"counted": [True, True, False], "up": [True, None, False]})
    >>> in_live_record(forecasts).tolist()
    [True, False, False]
    """
    return forecasts["counted"] & forecasts["up"].notna()


def is_replay(forecasts: pd.DataFrame) -> "pd.Series[bool]":
    """Return a mask of the rows of the ledger that do not count as live, whatever the reason."""
    return forecasts["replay"].notna()


def replays(forecasts: pd.DataFrame) -> Replays:
    """Return how many rows of the ledger are replays, and how many of those were right.

    >>> row = {"replay": "written after the open", "probability": 0.6, "up": True}
    >>> print(replays(pd.DataFrame([row, row | {"up": None}, row | {"replay": None}])))
    2, 100.0% of 1 right
    """
    replayed = forecasts[is_replay(forecasts)]
    settled = replayed[replayed["up"].notna()]
    hits = called_up(settled["probability"].to_numpy(float)) == settled["up"].to_numpy(bool)
    return Replays(forecasts=len(replayed), settled=len(settled), hits=int(hits.sum()))


def live_record(settled: pd.DataFrame) -> LiveRecord | None:
    """Return the record of forecasts with a known outcome, or None if there are none.

    `settled` has a row a session with the columns `probability` of closing up, `up` (bool),
    `promised_accuracy`, `promised_low`, `promised_high` and `promised_log_loss`. A call is up if
    the probability is above ½.
    """
    if settled.empty:
        return None
    up = settled["up"].to_numpy(int)
    probability = settled["probability"].to_numpy(float)
    hits = called_up(probability) == up
    low, high = confidence_sequence(hits)
    live_scores = scores(up, probability)
    promises = ["promised_accuracy", "promised_low", "promised_high", "promised_log_loss"]
    return LiveRecord(
        days=len(hits),
        hits=int(hits.sum()),
        accuracy=live_scores["accuracy"],
        low=float(low[-1]),
        high=float(high[-1]),
        log_loss=live_scores["log_loss"],
        brier=live_scores["brier"],
        **{name: float(settled[name].mean()) for name in promises},
    )


def drift(reference: Array, recent: Array, names: Sequence[str]) -> dict[str, float]:
    """Return, for each feature, the p-value that recent values have the reference's distribution.

    Two-sided Kolmogorov–Smirnov tests of recent (m, I) against reference (n, I), adjusted for the
    I features (Holm). The test assumes independent sessions, but market volatility clusters. In 600
    simulated GARCH walks without any change, tested on 250 days in a row with m = 60, n = 600 and
    the features `return` and `direction`, the lowest p-value was at least once below

        0.05 in 79 %,  0.01 in 44 %,  0.001 in 13 %,  0.0001 in 4 % of the walks

    (on 9.5, 3.5, 0.9 and 0.3 % of all days). So 0.0001 is a sensible level for alarms; in ten years
    each of AAPL and MSFT, to 2013, one day was below it. At that level a trebled volatility is
    detected in 45 % of walks after 60 sessions, and in 83 % after 120 with m = 120.

    Not every feature suits this test. Values of a rolling `volatility` share returns: it was below
    0.0001 in every walk, and `abs_return` in 47 %. `volume_change` does not show a new unit of
    volume, which moves one session only.

    Raises:
        ArrayError: the number of columns is not the number of names, or a value is not finite.

    >>> rng = np.random.default_rng(0)
    >>> reference, recent = rng.normal(size=(600, 2)), rng.normal(scale=[5, 1], size=(60, 2))
    >>> pvalues = drift(reference, recent, ["return", "volume_change"])
    >>> {name: pvalue < 1e-4 for name, pvalue in pvalues.items()}
    {'return': True, 'volume_change': False}
    """
    check_array("reference", reference, (None, len(names)), axes="sessions, features")
    check_array("recent", recent, (None, len(names)), axes="sessions, features")
    pvalues = [
        ks_2samp(before, now).pvalue for before, now in zip(reference.T, recent.T, strict=True)
    ]
    return dict(zip(names, holm(np.array(pvalues)).tolist(), strict=True))


def alarms(
    record: LiveRecord | None,
    drift: Mapping[str, float],
    missing: int,
    *,
    level: float,
    tolerated: int,
) -> list[Alarm]:
    """Return what a user should look at; usually nothing.

    - `performance`: the confidence sequence of the accuracy and the promised range do not overlap.
      An accuracy above the promise is suspect too.
    - `drift`: a p-value is below `level`.
    - `stale`: more than `tolerated` sessions have closed without a price.

    Args:
        record: the live record, if there is one.
        drift: p-values by feature, as the function `drift` returns them.
        missing: sessions that have closed without a price.
        level: of the p-values.
        tolerated: missing sessions that are no alarm yet.

    >>> alarms(None, {"return": 3e-7}, 0, level=1e-4, tolerated=1)[0].kind
    'drift'
    """
    candidates = [_performance(record), _drift(drift, level), _stale(missing, tolerated)]
    return [alarm for alarm in candidates if alarm]


def _performance(record: LiveRecord | None) -> Alarm | None:
    if record is None:
        return None
    apart = record.high < record.promised_low or record.low > record.promised_high
    if not apart:  # also where nothing was promised: NaN
        return None
    worse = record.accuracy < record.promised_accuracy
    text = (
        f"{record.hits} of {record.days} calls were right, {record.accuracy:.1%} "
        f"({record.low:.1%} to {record.high:.1%}), {'worse' if worse else 'suspiciously better'} "
        f"than the promised {record.promised_accuracy:.1%} "
        f"({record.promised_low:.1%} to {record.promised_high:.1%})"
    )
    return Alarm("performance", text)


def _drift(pvalues: Mapping[str, float], level: float) -> Alarm | None:
    changed = [f"{name} (p {pvalue:.1e})" for name, pvalue in pvalues.items() if pvalue < level]
    if not changed:
        return None
    listed = ", ".join(changed)
    return Alarm("drift", f"recent inputs are distributed differently from earlier ones: {listed}")


def _stale(missing: int, tolerated: int) -> Alarm | None:
    if missing <= tolerated:
        return None
    return Alarm("stale", f"closed sessions without a price: {missing} ({tolerated} are tolerated)")
